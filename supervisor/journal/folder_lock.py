"""A lock on the run folder itself. A lock file can be deleted under its holder; the folder it lies in cannot."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

HELD = (errno.EAGAIN, errno.EACCES)
LOOK_S = 0.01
LOCKS = Path("/proc/locks")


class FolderHeldError(Exception):
    """Another process has the folder."""


class FolderLock:
    """`flock` on the folder's inode. Where the file system has no such lock (NFS) nothing is ever held here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self, timeout_s: float) -> None:
        """Raises FolderHeldError when another process has it for `timeout_s`; one that only looks leaves sooner."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline_s = time.monotonic() + timeout_s
        while (taken := _taken(descriptor, fcntl.LOCK_EX)) is False and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
        if taken:
            self._descriptor = descriptor
            return
        os.close(descriptor)
        if taken is False:
            raise FolderHeldError

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def still_names(self) -> bool:
        """Whether we hold the folder that the path leads to now: nobody else can be in then."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._folder))
        except FileNotFoundError:
            return False

    def is_held(self) -> bool:
        """Whether a process has it now, this one included."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _taken(descriptor, fcntl.LOCK_SH) is False  # shared: two that look are not in each other's way
        finally:
            os.close(descriptor)

    def holder(self) -> int | None:
        """The pid of the process that has it, as the kernel lists it."""
        status = os.stat(self._folder)
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in LOCKS.read_text().splitlines() if LOCKS.exists() else []:
            words = line.split()
            if words[1:2] == ["FLOCK"] and place in words:
                return int(words[4]) or None
        return None


def _taken(descriptor: int, kind: int) -> bool | None:
    """True when it is ours now, False when somebody has it, None where there is no such lock."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in HELD else None
    return True
