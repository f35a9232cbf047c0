"""Power cut: what had reached an ext4 when its machine went dark, at every durable operation, is started again.

One run on a loop-mounted image is photographed before each of its operations: only the blocks that the file system has
written by then, nothing of the page cache. What durable.py promised by then must be on the photograph, and the run goes
on from it as if undisturbed.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from supervisor.journal import durable
from tests.faults import loop_disk
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.killed import SAME, number_of
from tests.faults.picture import assert_same, picture
from tests.faults.promises import Promises, broken
from tests.faults.scenario import Scenario, in_a_child, reference
from tests.faults.traced import GOING_ON
from tests.faults.wreck import assert_sound

BLOCK_BYTES = 4096
BLOCK = struct.Struct(f"<I{BLOCK_BYTES}s")
DISK, RUN, END = "disk", "run", "end"

FROM_NOTHING = Scenario("from nothing", iterations=2, dashboard=False)


@dataclass(frozen=True)
class Kind:
    """How much the file system has written of what it was not told to."""

    name: str
    options: str
    commits: bool  # whether the journal is always ahead: it knows every name and length, the data are not there


KINDS = (
    Kind("nothing but what was synced", f"{loop_disk.UNKIND},data=ordered", commits=False),
    Kind("names before data", f"{loop_disk.UNKIND},data=writeback", commits=True),
)


class Camera:
    """Keeps the blocks of an image that have changed since the last picture, and the promises of that moment."""

    def __init__(self, image: Path, album: Path) -> None:
        self._image = image
        self._album = album
        self._before = b"\0" * loop_disk.IMAGE_BYTES
        self._taken = 0
        album.mkdir()

    def take(self, operation: str, promises: Promises) -> None:
        now = self._image.read_bytes()
        with (self._album / f"{self._taken}.blocks").open("wb") as stream:
            for number, offset in enumerate(range(0, len(now), BLOCK_BYTES)):
                block = now[offset : offset + BLOCK_BYTES]
                if block != self._before[offset : offset + BLOCK_BYTES]:
                    stream.write(BLOCK.pack(number, block))
        (self._album / f"{self._taken}.promises").write_text(json.dumps(promises.now()))
        with (self._album / "operations").open("a") as stream:
            stream.write(f"{self._taken} {operation}\n")
        self._before, self._taken = now, self._taken + 1


def develop(album: Path, number: int, image: Path) -> None:
    """The image as it was on this picture."""
    with image.open("wb") as stream:
        stream.truncate(loop_disk.IMAGE_BYTES)
        for earlier in range(number + 1):
            for place, block in BLOCK.iter_unpack((album / f"{earlier}.blocks").read_bytes()):
                stream.seek(place * BLOCK_BYTES)
                stream.write(block)


def photograph(scenario: Scenario, kind: Kind, base: Path, folder: Path) -> None:
    """Run the scenario on a disk of its own, with a picture before every durable operation and one at the end."""
    image, disk = folder / "image", folder / DISK
    loop_disk.make_image(image)
    loop_disk.leave_common_mounts()
    loop_disk.mount(image, disk, kind.options)
    run_dir = disk / RUN
    shutil.copytree(base, run_dir, symlinks=True)
    os.sync()
    promises, camera = Promises(run_dir), Camera(image, folder / "album")
    promises.listen()

    def shoot(operation: str, path: Path) -> None:
        if kind.commits:
            _commit_journal(disk)
        camera.take(f"{operation} {path.relative_to(run_dir)}", promises)

    durable.failpoint = shoot
    scenario.run(run_dir)
    shoot(END, run_dir)


def _commit_journal(disk: Path) -> None:
    """As a neighbour's fsync does, or five seconds: the journal commits all names and lengths, nobody's data."""
    descriptor = os.open(disk / "neighbour", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.write(descriptor, b".")
    os.fsync(descriptor)
    os.close(descriptor)


def points(scenario: Scenario, kind: Kind, scratch: Path) -> Sequence[str]:
    folder = _studio(scenario, kind, scratch)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = reference(scenario, scratch).base
    in_a_child(lambda: photograph(scenario, kind, base, folder), folder / "photographing")
    return (folder / "album" / "operations").read_text().splitlines()


def _studio(scenario: Scenario, kind: Kind, scratch: Path) -> Path:
    return scratch / "power" / f"{scenario.name} {kind.name}".replace(" ", "_")


def check(scenario: Scenario, kind: Kind, scratch: Path, point: str, folder: Path) -> int:
    album = _studio(scenario, kind, scratch) / "album"
    number = number_of(point)
    develop(album, number, folder / "image")
    loop_disk.leave_common_mounts()
    loop_disk.mount(folder / "image", folder / DISK, kind.options)
    run_dir = folder / DISK / RUN
    problems = broken(run_dir, json.loads((album / f"{number}.promises").read_text()))
    if problems:
        raise PromiseBrokenError("after the power cut\n" + "\n".join(problems))
    assert_sound(run_dir)
    scenario.run(run_dir)
    assert_same(picture(run_dir), reference(scenario, scratch).expected)
    return 1


def cells(scratch: Path) -> list[Cell]:
    return [
        Cell(
            f"power cut: {scenario.name}, {kind.name}",
            TIER_A,
            f"what was promised is there; {SAME}",
            lambda folder, scenario=scenario, kind=kind: points(scenario, kind, scratch),
            partial(check, scenario, kind, scratch),
            loop_disk.unavailable,
            reduced=4 if scenario is GOING_ON else 0,
        )
        for kind in KINDS
        for scenario in (FROM_NOTHING, GOING_ON)
    ]
