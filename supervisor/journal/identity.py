"""`run.json`: who this run is, fixed at its first start; and the lock that keeps a second supervisor out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from supervisor.contract import SCHEMA, Json, as_json, parse
from supervisor.errors import DamagedStateError, LockHeldError
from supervisor.journal import durable, sealed
from supervisor.journal.folder_lock import FolderHeldError, FolderLock

RUN_NAME = "run.json"
LOCK_NAME = "supervisor.lock"
PROBE_S = 0.5  # how long a command that looks whether somebody is there may be in the way of one that starts
WINDOW_PER_WORKER = 4  # tests/benchmarks/window.py says what other figures would gain


@dataclass(frozen=True)
class RunIdentity:
    """run_id names the work (equal for two runs of the same work), folder_id this folder (random, never compared)."""

    run_id: str
    seed: int
    window: int
    folder_id: str
    decides: Mapping[str, Json]  # the settings and spaces that run_id covers, to say later what was changed
    spaces: Mapping[str, Json] = field(default_factory=dict)  # what the targets' hashes in `decides` cover, by key
    retention: Mapping[str, int] = field(default_factory=dict)  # how much is kept, for a command without configuration
    serving: Mapping[str, Json] = field(default_factory=dict)  # where its server listens, for such a command too
    schema: int = SCHEMA


def first_window(workers: int) -> int:
    """How many lines a proposal may be ahead of the log, fixed when a folder is started first with so many workers."""
    return 1 if workers == 1 else WINDOW_PER_WORKER * workers


def run_id_of(seed: int, window: int, decides: Mapping[str, Json]) -> str:
    """Twelve hex digits over everything that decides results."""
    body = durable.canonical_json({"seed": seed, "window": window, "decides": dict(decides)})
    return hashlib.sha256(body).hexdigest()[:12]


def load_identity(run_dir: Path) -> RunIdentity | None:
    """The folder's identity, None before its first start.

    Raises DamagedStateError when the file is unreadable: without it the log's lines cannot be told from another's.
    """
    path = run_dir / RUN_NAME
    if not path.exists():
        return None
    try:
        return parse(RunIdentity, sealed.read(path))
    except ValueError as error:
        raise DamagedStateError(
            f"{path}: unreadable ({error}); restore it from a copy, or start a new --run-dir"
        ) from error


def save_identity(run_dir: Path, identity: RunIdentity) -> None:
    sealed.write(run_dir / RUN_NAME, as_json(identity))


class RunLock:
    """One supervisor per run folder. The holder's pid stands in the lock file; the folder itself is locked too, so that
    whoever deletes the file lets nobody in."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / LOCK_NAME
        self._folder = FolderLock(run_dir)
        self._lock = self._new_lock()

    def acquire(self) -> None:
        """Raises LockHeldError naming the holder's pid when another process has it."""
        try:
            self._folder.acquire(timeout_s=PROBE_S)
            self._lock.acquire(timeout=PROBE_S, poll_interval=PROBE_S / 10)
        except (FolderHeldError, filelock.Timeout) as error:
            holder = self.holder()
            self._folder.release()
            raise LockHeldError(
                f"{self._path}: another supervisor (pid {holder or 'unknown'}) works in this folder;"
                " stop it first (incumbent stop) or give another --run-dir"
            ) from error
        self._write_pid()

    def holder(self) -> int | None:
        """The pid of whoever has it now; where the kernel does not tell, of whoever acquired it last."""
        try:
            return self._folder.holder() or int(self._path.read_text().strip())
        except (OSError, ValueError):
            return None

    def check(self) -> bool:
        """False where the lock file was deleted or replaced: it is there again, nobody could come in meanwhile.

        Raises LockHeldError where somebody could: the folder was replaced too, or its file system cannot lock folders.
        """
        if self._file_is_held():
            return True
        if not self._folder.still_names():
            raise LockHeldError(
                f"{self._path} was deleted or replaced while this supervisor held it; it leaves before a second one"
                " could write to the same folder"
            )
        self._lock.release()
        self._lock = self._new_lock()
        try:
            self._lock.acquire(timeout=PROBE_S, poll_interval=PROBE_S / 10)
        except filelock.Timeout as error:
            raise LockHeldError(
                f"{self._path} was replaced, and somebody holds the new one; this one leaves"
            ) from error
        self._write_pid()
        return False

    def release(self) -> None:
        self._lock.release()
        self._folder.release()

    def _new_lock(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self._path, thread_local=False, preserve_lock_file=True)

    def _file_is_held(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor()))
        except FileNotFoundError:
            return False

    def _write_pid(self) -> None:
        """For people. A disk without room for it keeps nobody from waiting for some."""
        descriptor = self._descriptor()
        os.ftruncate(descriptor, 0)
        try:
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if error.errno not in durable.FULL:
                raise

    def _descriptor(self) -> int:
        descriptor = self._lock._context.lock_file_fd
        assert descriptor is not None
        return descriptor


def lock_is_held(run_dir: Path) -> bool:
    """Whether a supervisor works in the folder now."""
    if not run_dir.is_dir():
        return False
    if FolderLock(run_dir).is_held():
        return True
    if not (run_dir / LOCK_NAME).exists():
        return False
    probe = filelock.FileLock(run_dir / LOCK_NAME, preserve_lock_file=True)
    try:
        probe.acquire(timeout=0)
    except filelock.Timeout:
        return True
    probe.release()
    return False
