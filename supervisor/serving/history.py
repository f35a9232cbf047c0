"""What log and snapshot say of the versions, read again only where one of their files is another than before.

Reading takes the interpreter from the event loop again and again, and longer with every version that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from supervisor.contract import Version
from supervisor.journal.checkpoint import CHECKPOINT_NAME, PREVIOUS_NAME
from supervisor.journal.log_files import log_files
from supervisor.journal.recovery import known_targets, known_versions
from supervisor.state import TargetState

T = TypeVar("T")

Looks = tuple[tuple[str, int, int, int], ...]
"""Of each file its name, inode, size and last change. A line more makes the log longer, a snapshot is a new file."""


class _Kept(Generic[T]):
    def __init__(self, run_dir: Path, read: Callable[[Path], T]) -> None:
        self._run_dir, self._read = run_dir, read
        self._last: tuple[Looks, T] | None = None

    def __call__(self) -> T:
        """May run in any thread."""
        looks = _looks(self._run_dir)  # first: what changes while it is read is read again next time
        last = self._last
        if last is None or last[0] != looks:
            last = self._last = (looks, self._read(self._run_dir))
        return last[1]


class History:
    """Of one run folder. Raises what reading log and snapshot raises."""

    def __init__(self, run_dir: Path) -> None:
        self.versions: Callable[[], Mapping[str, Mapping[str, Version]]] = _Kept(run_dir, known_versions)
        self.targets: Callable[[], Mapping[str, TargetState]] = _Kept(run_dir, known_targets)


def _looks(run_dir: Path) -> Looks:
    found = []
    for path in (*log_files(run_dir), run_dir / CHECKPOINT_NAME, run_dir / PREVIOUS_NAME):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)
