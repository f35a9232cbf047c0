"""Real limits: a full file system, one without inodes, a read-only one, an unplugged one, a folder without rights, the
largest size of a file, the largest number of open files."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import resource
import struct
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from supervisor import loop
from supervisor.errors import TryAgainError, UsageError
from supervisor.flight import Flight
from supervisor.journal import durable
from supervisor.journal.log import LOG_NAME
from tests.faults import loop_disk
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.images import DAMAGED, operations
from tests.faults.killed import number_of
from tests.faults.picture import assert_same, picture
from tests.faults.refused import LEAVES, WAITS
from tests.faults.scenario import reference
from tests.faults.starts import Disturbance, Ended, hurry, start

TOLD = "exit code 2, the file named; put right, the next start comes to the same end"
ENDS = "waits or leaves with 75; the next start comes to the same end"
NOBODY = 65534
PAUSES = 3  # the disk stays full for so many of the supervisor's pauses
PAGE_BYTES = 4096
TMPFS_OPTIONS = "size=2m,nr_inodes=400"
EXT4_OPTIONS = "loop,errors=remount-ro"
EXT4_IOC_SHUTDOWN = 0x8004587D  # from now on every operation fails with EIO, as if the plug was pulled
WITHOUT_LOG_FLUSH = 2
STRIDE = 3  # of the operations: refused.py tries each of them
PLACE_STRIDE = 20
DESCRIPTORS = 3  # the most that are still free when the others are used up


def at_operation(number: int, strike: Callable[[], None]) -> None:
    """Before the durable operation with this number, from 0, of this process."""
    left = number

    def count_down(operation: str, path: Path) -> None:
        nonlocal left
        if left == 0:
            strike()
        left -= 1

    durable.failpoint = count_down


def at_pause(number: int, relieve: Callable[[], None]) -> Callable[[], int]:
    """When supervisor or trial has waited for room so many times. The answer tells how often it was by then."""
    pauses = 0
    pause, rest = loop.Supervisor._pause, loop.Supervisor._rest

    def count() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == number:
            relieve()

    def counted_pause(self: loop.Supervisor, pause_s: float) -> None:
        count()
        pause(self, pause_s)

    def counted_rest(self: loop.Supervisor, flight: Flight, want: str) -> None:
        count()
        rest(self, flight, want)

    loop.Supervisor._pause, loop.Supervisor._rest = counted_pause, counted_rest  # type: ignore[method-assign]
    return lambda: pauses


# what takes the room


def fill(disk: Path, free_pages: int) -> None:
    """All but so many pages of the file system."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(PAGE_BYTES))
        except OSError:
            ballast.truncate(max(0, ballast.tell() - free_pages * PAGE_BYTES))


def use_up_inodes(disk: Path, free: int) -> None:
    folder = disk / "ballast"
    folder.mkdir(exist_ok=True)
    try:
        for number in range(10_000):
            (folder / str(number)).touch()
    except OSError:
        for path in sorted(folder.iterdir())[:free]:
            path.unlink()


def make_room(disk: Path) -> None:
    subprocess.run(["rm", "-rf", str(disk / "ballast")], check=True)


def check_full(take: Callable[[Path, int], None], scratch: Path, point: str, folder: Path) -> int:
    loop_disk.leave_common_mounts()
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", TMPFS_OPTIONS, "none", str(disk)], check=True)
    left = random.Random(point).randrange(4)

    def disturb() -> Callable[[], int]:
        at_operation(number_of(point), lambda: take(disk, left))
        return at_pause(PAUSES, lambda: make_room(disk))

    ended = _first_start(scratch, disk / "run", disturb)
    if ended.code != 0:
        raise PromiseBrokenError(f"it did not wait: exit code {ended.code}: {ended.message}")
    make_room(disk)
    _must_end(scratch, disk / "run")
    return ended.faults


def check_file_size(scratch: Path, point: str, folder: Path) -> int:
    def disturb() -> Callable[[], int]:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(point), hard))
        return at_pause(PAUSES, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))

    ended = _first_start(scratch, folder / "run", disturb)
    if ended.code != 0:
        raise PromiseBrokenError(f"it did not wait: exit code {ended.code}: {ended.message}")
    _must_end(scratch, folder / "run")
    return ended.faults


def check_descriptors(scratch: Path, point: str, folder: Path) -> int:
    """A trial is a process of its own and has its own: here it shares the supervisor's."""

    struck = []

    def strike() -> None:
        struck.append(point)
        lowest = os.dup(0)
        os.close(lowest)
        left = random.Random(point).randrange(DESCRIPTORS + 1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + left, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    def disturb() -> Callable[[], int]:
        at_operation(number_of(point), strike)
        return lambda: len(struck)

    ended = _first_start(scratch, folder / "run", disturb)
    if ended.code not in (0, TryAgainError.exit_code):
        raise PromiseBrokenError(f"exit code {ended.code}: {ended.message}")
    _must_end(scratch, folder / "run")
    return ended.faults


# what takes the disk away


def check_read_only(scratch: Path, point: str, folder: Path) -> int:
    """The kernel makes the file system read-only at an error of its own."""
    disk, image = _mounted_image(folder)
    device = Path(_output("findmnt", "--noheadings", "--output", "SOURCE", str(disk))).name
    trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    ended = _first_start(scratch, disk / "run", _at(point, lambda: trigger.write_text("injected")))
    if " fsync" not in point:  # a failed one is that, whatever made it fail
        _must_be(ended, UsageError.exit_code, disk)
    _must_be(start(DAMAGED, disk / "run"), UsageError.exit_code, disk)
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["e2fsck", "-p", "-f", str(image)], check=False, capture_output=True)
    subprocess.run(["mount", "-o", EXT4_OPTIONS, str(image), str(disk)], check=True)
    _must_end(scratch, disk / "run")
    return 1


def check_unplugged(scratch: Path, point: str, folder: Path) -> int:
    disk, image = _mounted_image(folder)
    descriptor = os.open(disk, os.O_RDONLY)
    strike = partial(fcntl.ioctl, descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
    ended = _first_start(scratch, disk / "run", _at(point, strike))
    _must_be(ended, TryAgainError.exit_code, disk)
    os.close(descriptor)
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mount", "-o", EXT4_OPTIONS, str(image), str(disk)], check=True)
    _must_end(scratch, disk / "run")
    return 1


def check_rights(scratch: Path, point: str, folder: Path) -> int:
    """Somebody takes the right to write to a folder, or to the log, from the user that the supervisor runs as."""
    number, _, name = point.partition(" ")
    run_dir = folder / "run"
    place = run_dir / name
    reference(DAMAGED, scratch).lay(run_dir)
    for path in (folder, run_dir, *run_dir.rglob("*")):
        os.chown(path, NOBODY, NOBODY)

    def disturb() -> Callable[[], int]:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        at_operation(int(number), lambda: place.chmod(0o444 if place.is_file() else 0o555))
        return lambda: 1

    _must_be(start(DAMAGED, run_dir, disturb), UsageError.exit_code, run_dir)
    _must_be(start(DAMAGED, run_dir, disturb), UsageError.exit_code, run_dir)
    place.chmod(0o755)
    _must_end(scratch, run_dir)
    return 1


def _first_start(scratch: Path, run_dir: Path, disturb: Disturbance) -> Ended:
    hurry()
    reference(DAMAGED, scratch).lay(run_dir)
    subprocess.run(["sync", "--file-system", str(run_dir)], check=True)
    return start(DAMAGED, run_dir, disturb)


def _at(point: str, strike: Callable[[], object]) -> Disturbance:
    def disturb() -> Callable[[], int]:
        at_operation(number_of(point), lambda: strike() and None)
        return lambda: 1

    return disturb


def _mounted_image(folder: Path) -> tuple[Path, Path]:
    loop_disk.leave_common_mounts()
    disk, image = folder / "disk", folder / "image"
    loop_disk.make_image(image)
    loop_disk.mount(image, disk, EXT4_OPTIONS)
    return disk, image


def _must_be(ended: Ended, code: int, place: Path) -> None:
    if ended.code != code or str(place) not in ended.message:
        raise PromiseBrokenError(f"exit code {ended.code} instead of {code}, or no file named: {ended.message}")


def _must_end(scratch: Path, run_dir: Path) -> None:
    ended = start(DAMAGED, run_dir)
    if ended.code != 0:
        raise PromiseBrokenError(f"the next start: exit code {ended.code}: {ended.message}")
    assert_same(picture(run_dir), reference(DAMAGED, scratch).expected)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# points


def _operations(scratch: Path, folder: Path) -> Sequence[str]:
    return operations(DAMAGED, scratch)[::STRIDE]


def _before_the_end(scratch: Path, folder: Path) -> Sequence[str]:
    """Where the disk is still needed."""
    points = operations(DAMAGED, scratch)
    return points[: max(number for number, point in enumerate(points) if point.endswith(f"write {LOG_NAME}")) : STRIDE]


def _sizes(scratch: Path, folder: Path) -> Sequence[str]:
    largest = max(path.stat().st_size for path in reference(DAMAGED, scratch).base.rglob("*"))
    return [str(size) for size in range(0, 2 * largest, 200)]


def _places(scratch: Path, folder: Path) -> Sequence[str]:
    """ "NUMBER PLACE", as long as something new is still to be written there."""
    last: dict[str, int] = {}
    for point in operations(DAMAGED, scratch):
        number, operation, name = point.split()
        if operation in ("make_folder", "open_temporary"):
            last[str(Path(name).parent)] = int(number)
        elif name == LOG_NAME and operation == "open_append":
            last[LOG_NAME] = int(number)
    places = (".", "trials", "models", LOG_NAME)
    return [f"{number} {place}" for place in places for number in range(0, last[place], PLACE_STRIDE)]


@functools.cache
def not_root() -> str:
    return "" if os.geteuid() == 0 else "needs root: it mounts file systems and changes users"


def cells(scratch: Path) -> list[Cell]:
    def cell(
        name: str,
        promise: str,
        points: Callable[[Path, Path], Sequence[str]],
        check: Callable[[Path, str, Path], int],
        unavailable: Callable[[], str] = lambda: "",
    ) -> Cell:
        return Cell(name, TIER_A, promise, partial(points, scratch), partial(check, scratch), unavailable, reduced=2)

    return [
        cell("full disk", WAITS, _operations, partial(check_full, fill), not_root),
        cell("no inodes", WAITS, _operations, partial(check_full, use_up_inodes), not_root),
        cell("file size limit", WAITS, _sizes, check_file_size),
        cell("open files limit", ENDS, _operations, check_descriptors),
        cell("read-only disk", TOLD, _before_the_end, check_read_only, loop_disk.unavailable),
        cell("unplugged disk", LEAVES, _before_the_end, check_unplugged, loop_disk.unavailable),
        cell("no rights", TOLD, _places, check_rights, not_root),
    ]
