"""`run.json`: who this run is, fixed at its first start; and the lock that keeps a second supervisor out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import filelock

from supervisor.contract import SCHEMA, Json, as_json, parse
from supervisor.errors import DamagedStateError, LockHeldError
from supervisor.journal import durable

RUN_NAME = "run.json"
LOCK_NAME = "supervisor.lock"


@dataclass(frozen=True)
class RunIdentity:
    """run_id names the work (equal for two runs of the same work), folder_id this folder (random, never compared)."""

    run_id: str
    seed: int
    window: int
    folder_id: str
    decides: Mapping[str, Json]  # the settings and spaces that run_id covers, to say later what was changed
    schema: int = SCHEMA


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
        return parse(RunIdentity, json.loads(path.read_bytes()))
    except ValueError as error:
        raise DamagedStateError(
            f"{path}: unreadable ({error}); restore it from a copy, or start a new --run-dir"
        ) from error


def save_identity(run_dir: Path, identity: RunIdentity) -> None:
    durable.write_json(run_dir / RUN_NAME, as_json(identity))


class RunLock:
    """One supervisor per run folder. The holder's pid stands in the file; a deleted lock file is noticed at `check`."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / LOCK_NAME
        self._lock = filelock.FileLock(self._path, thread_local=False, preserve_lock_file=True)

    def acquire(self) -> None:
        """Raises LockHeldError naming the holder's pid when another process has it."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise LockHeldError(
                f"{self._path}: another supervisor (pid {self.holder() or 'unknown'}) works in this folder;"
                " stop it first (incumbent stop) or give another --run-dir"
            ) from error
        descriptor = self._descriptor()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def holder(self) -> int | None:
        """The pid written by whoever acquired the lock last."""
        try:
            return int(self._path.read_text().strip())
        except (OSError, ValueError):
            return None

    def check(self) -> None:
        """Raises LockHeldError when the lock file on disk is no longer the held one: a second supervisor may be in."""
        held = os.fstat(self._descriptor()).st_ino
        try:
            current = os.stat(self._path).st_ino
        except FileNotFoundError:
            current = None
        if current != held:
            raise LockHeldError(
                f"{self._path} was deleted or replaced while this supervisor held it; it leaves before a second one"
                " could write to the same folder"
            )

    def release(self) -> None:
        self._lock.release()

    def _descriptor(self) -> int:
        descriptor = self._lock._context.lock_file_fd
        assert descriptor is not None
        return descriptor


def lock_is_held(run_dir: Path) -> bool:
    """Whether a supervisor works in the folder now."""
    if not (run_dir / LOCK_NAME).exists():
        return False
    probe = filelock.FileLock(run_dir / LOCK_NAME, preserve_lock_file=True)
    try:
        probe.acquire(timeout=0)
    except filelock.Timeout:
        return True
    probe.release()
    return False
