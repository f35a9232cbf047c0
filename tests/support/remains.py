"""What a run leaves behind: processes, descriptors, threads, temporary files, shared memory. A picture before and one
after, and the names of what is new.

Whatever is started while `nothing_remains` is open stays below this process, however often it forks or changes its
session: orphans are handed to it instead of to init. Temporary files go to a folder of their own by TMPDIR.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 15.0  # how long what was left may take to end by itself
LOOK_S = 0.05
SHARED_MEMORY = Path("/dev/shm")
SYSTEM_V = tuple(Path("/proc/sysvipc") / kind for kind in ("shm", "sem", "msg"))
NUMBERS = re.compile(r"(:\[\d+\]|#\d+ \(deleted\))$")  # of pipes and sockets, of files that never had a name
LIBRARIES_CACHES = ("torchinductor_",)  # one folder for all processes of a user, made by an import
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37


@dataclass(frozen=True)
class Row:
    """A process: its parent, the kernel's letter for its state, and what `ps` would show."""

    pid: int
    parent: int
    state: str
    began: str  # clock ticks since boot: with the pid it names a process for good
    name: str


@dataclass(frozen=True)
class Remains:
    """What there is now. `of` takes the picture, `new_since` compares two."""

    processes: Mapping[tuple[int, str], str] = field(default_factory=dict)  # below this process: (pid, began) -> words
    descriptors: Counter[str] = field(default_factory=Counter)  # of this process, by what they are open on
    threads: Counter[str] = field(default_factory=Counter)
    segments: frozenset[str] = frozenset()  # System V and POSIX shared memory, semaphores, queues
    files: frozenset[str] = frozenset()  # temporary ones

    @classmethod
    def of(cls, *folders: Path, temporary: Path | None = None) -> Remains:
        """`folders` are looked through for unfinished files; of a private TMPDIR, `temporary`, every file counts."""
        gc.collect()
        return cls(
            processes={(row.pid, row.began): _words(row) for row in below(os.getpid())},
            descriptors=Counter(descriptors_of(os.getpid())),
            threads=Counter(thread.name for thread in threading.enumerate()),
            segments=frozenset(_segments()),
            files=frozenset(map(str, _unfinished_files(folders, temporary))),
        )

    def new_since(self, before: Remains) -> list[str]:
        """A sentence for each thing that is here and was not there before; empty when nothing remains."""
        found = [f"process {words}" for key, words in self.processes.items() if key not in before.processes]
        for what, now, then in (
            ("descriptor", self.descriptors, before.descriptors),
            ("thread", self.threads, before.threads),
        ):
            found += [f"{what} {name} ({count} more)" for name, count in (now - then).items()]
        found += [f"shared memory {name}" for name in sorted(self.segments - before.segments)]
        found += [f"file {name}" for name in sorted(self.files - before.files)]
        return found

    def assert_nothing_new(self, *folders: Path, temporary: Path | None = None, patience_s: float = PATIENCE_S) -> None:
        """Compare with now, giving what is on its way out the time it needs; fail, naming what is left."""
        deadline_s = time.monotonic() + patience_s
        while True:
            bury_adopted(self)
            left = Remains.of(*folders, temporary=temporary).new_since(self)
            if not left:
                return
            assert time.monotonic() < deadline_s, "left behind:\n  " + "\n  ".join(left)
            select.select([], [], [], LOOK_S)


@contextmanager
def nothing_remains(*folders: Path, patience_s: float = PATIENCE_S) -> Iterator[Path]:
    """Fail when the body leaves anything behind: processes below this one, descriptors and threads of it, shared
    memory, files in TMPDIR, unfinished ones in the folders (a run folder, say). Whatever is left is ended and removed.
    Yields the private TMPDIR."""
    environment, default = os.environ.get("TMPDIR"), tempfile.tempdir
    private = Path(tempfile.mkdtemp(prefix="remains-"))
    adopted_before = _adopts_orphans()
    _adopt_orphans(True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(private)
    before = Remains.of(*folders, temporary=private)
    try:
        yield private
        before.assert_nothing_new(*folders, temporary=private, patience_s=patience_s)
    finally:
        _end_new(before)
        _adopt_orphans(adopted_before)
        tempfile.tempdir = default
        if environment is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = environment
        shutil.rmtree(private)


# processes


def table() -> dict[int, Row]:
    """Every process, zombies too."""
    rows = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            head, _, rest = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")
            words = rest.split()
            rows[int(name)] = Row(int(name), int(words[1]), words[0], words[19], head.partition("(")[2])
    return rows


def below(root: int) -> list[Row]:
    """The processes below `root`, children first."""
    rows = table()
    found: list[Row] = []
    pending = [root]
    while pending:
        parent = pending.pop()
        children = [row for row in rows.values() if row.parent == parent]
        found += children
        pending += [row.pid for row in children]
    return found


def bury_adopted(before: Remains) -> None:
    """Collect dead processes that were handed to us, as init would: they are nobody's fault. Those that this process
    started itself are its own to collect."""
    dead = [row for row in below(os.getpid()) if row.state == "Z" and row.parent == os.getpid()]
    new = {row.pid for row in dead if (row.pid, row.began) not in before.processes}
    for pid in new - _own_children() if new else ():
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _own_children() -> set[int]:
    """What `subprocess` and `multiprocessing` of this process still have to collect."""
    # not isinstance: some libraries put objects there that warn when asked for their class
    started = {
        item.pid for item in gc.get_objects() if issubclass(type(item), subprocess.Popen) and item.returncode is None
    }
    multiprocessing = sys.modules.get("multiprocessing")
    children = multiprocessing.active_children() if multiprocessing is not None else []
    return started | {child.pid for child in children if child.pid is not None}


def _words(row: Row) -> str:
    with suppress(OSError):
        line = Path(f"/proc/{row.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return f"{row.pid} {row.name} [{row.state}] child of {row.parent}: {line[:200]}"
    return f"{row.pid} {row.name} [{row.state}] child of {row.parent}"


def _end_new(before: Remains) -> None:
    """Kill what is left, so that it troubles no later test."""
    for row in below(os.getpid()):
        if (row.pid, row.began) not in before.processes:
            with suppress(ProcessLookupError):
                os.kill(row.pid, signal.SIGKILL)
    bury_adopted(before)


def _adopts_orphans() -> bool:
    answer = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


def _adopt_orphans(wanted: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted), 0, 0, 0)


# what a process holds


def descriptors_of(pid: int) -> list[str]:
    """What each open descriptor of a process is open on; what has no name is the same whatever its number."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):  # the listing's own is gone by now
            link = os.readlink(f"/proc/{pid}/fd/{name}")
            found.append(NUMBERS.sub("", link))
    return [link for link in found if link != f"/proc/{pid}/fd"]


def _unfinished_files(folders: Iterable[Path], temporary: Path | None) -> Iterator[Path]:
    """What an atomic write left, `.name.tmp`, and everything in the private TMPDIR."""
    for folder in folders:
        yield from folder.rglob(".*.tmp")
    if temporary is not None:
        for entry in temporary.iterdir():
            if not entry.name.startswith(LIBRARIES_CACHES):
                yield from (entry, *entry.rglob("*"))


def _segments() -> Iterator[str]:
    """Those that no living process outside uses, so that other people's work on this machine does not show."""
    for kind in SYSTEM_V:
        with suppress(OSError):
            head, *lines = kind.read_text().splitlines()
            for entry in (dict(zip(head.split(), line.split(), strict=True)) for line in lines):
                if entry.get("nattch", "0") == "0":
                    yield f"System V {kind.name} {entry[head.split()[1]]}"
    if SHARED_MEMORY.is_dir():
        found = {str(path) for path in SHARED_MEMORY.iterdir() if path.is_file()}
        yield from sorted(found - _in_use_elsewhere(found))


def _in_use_elsewhere(names: set[str]) -> set[str]:
    """Of these files the ones that a process mapped or opened which is neither this one nor below it."""
    if not names:
        return set()
    ours = {os.getpid(), *(row.pid for row in below(os.getpid()))}
    used: set[str] = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) in ours:
            continue
        with suppress(OSError):
            maps = Path(f"/proc/{name}/maps").read_text(errors="replace")
            used |= {path for path in names if path in maps}
            for descriptor in os.listdir(f"/proc/{name}/fd"):
                used |= names & {os.readlink(f"/proc/{name}/fd/{descriptor}")}
    return used
