"""`serving/rollbacks.jsonl`: versions that the server took out of production, until the supervisor's log says so too.

Written by the server alone, before it acts. A version rolled back never comes back, so an entry is consumed as soon as
log or snapshot count its version among those rolled back: a line that is read twice changes nothing the second time.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from supervisor.contract import SCHEMA, Json, as_json, parse
from supervisor.journal import durable, sealed
from supervisor.state import TargetState

FOLDER_NAME = "serving"
ROLLBACKS_NAME = "rollbacks.jsonl"
DETAIL_CHARACTERS = 300


class Cause(StrEnum):
    """Why the server went back."""

    MANUAL = "manual"  # an operator asked the server
    DEGRADED = "degraded"  # the test on production's outcomes
    HARD_FAULT = "hard_fault"  # NaN, errors, latency over budget


@dataclass(frozen=True)
class ServerRollback:
    """One entry. The hash says which version of that name it was: another run in this folder may make one too."""

    id: str  # unique; the log line that consumes the entry names it
    target: str
    version: str  # rolled back
    model_sha256: str  # of that version
    back_to: str | None  # None: nothing is served any more
    cause: Cause
    detail: str
    at: str
    schema: int = SCHEMA

    @property
    def why(self) -> str:
        """Cause and detail on one line."""
        return f"{self.cause}: {' '.join(self.detail.split())}"[:DETAIL_CHARACTERS].removesuffix(": ")


@dataclass(frozen=True)
class Rollbacks:
    """What the file says, in the order it was written, and a sentence for everything that cannot be read."""

    entries: tuple[ServerRollback, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """`waiting` is in force, and the supervisor has yet to consume it; a version rolled back twice stands there once,
    where it was first and going where the server went last. `unknown` names versions that log and snapshot do not
    know."""

    waiting: tuple[ServerRollback, ...]
    unknown: tuple[ServerRollback, ...]


class RollbackFile:
    """The server's own end of the file. Only its first line looks at what a server before it left: each call of the
    system costs a turn of a busy event loop, which the caller's thread waits for."""

    def __init__(self, run_dir: Path) -> None:
        self._path = _path(run_dir)
        self._is_whole = False

    def append(self, rollback: ServerRollback) -> None:
        """Durable when it returns: only then may the server act. What a killed server left unfinished goes first.

        Raises DiskFullError, FsyncFailedError and OSError; then nothing was rolled back.
        """
        was_whole, self._is_whole = self._is_whole, False
        if not was_whole or not self._path.exists():
            durable.make_folder(self._path.parent)
            sealed.append_line(self._path, as_json(rollback))
            durable.sync_folder(self._path.parent)  # also where a server killed before this made the file
        else:
            durable.append(self._path, sealed.encode_line(as_json(rollback)))
        self._is_whole = True


def read(run_dir: Path) -> Rollbacks:
    """Never raises for what lies there: a torn last line was never acted upon, and a damaged one is left out."""
    path = _path(run_dir)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Rollbacks(problems=(f"{path}: no file; the server's rollbacks are not seen. Move it away",))
        found = sealed.read_lines(path, _entry)
    except (FileNotFoundError, NotADirectoryError):
        return Rollbacks()
    except OSError as error:
        return Rollbacks(problems=(f"{path}: {error.strerror}: the server's rollbacks are not seen",))
    problems = (f"{path}: line {number} is damaged and counts for nothing" for number in found.damaged)
    return Rollbacks(found.whole, tuple(problems))


def is_known(rollback: ServerRollback, target: TargetState) -> bool:
    """Whether log and snapshot know the very version that was rolled back."""
    version = target.versions.get(rollback.version)
    return version is not None and version.model_sha256 == rollback.model_sha256


def judge(entries: Iterable[ServerRollback], targets: Mapping[str, TargetState]) -> Judged:
    """What of the entries the run's state does not cover."""
    waiting: dict[tuple[str, str], ServerRollback] = {}
    unknown: list[ServerRollback] = []
    for entry in entries:
        target = targets.get(entry.target, TargetState())
        if not is_known(entry, target):
            unknown.append(entry)
        elif entry.version not in target.rolled_back:
            waiting[entry.target, entry.version] = entry
    return Judged(tuple(waiting.values()), tuple(unknown))


def in_production(active: str | None, waiting: Sequence[ServerRollback], target: TargetState) -> str | None:
    """The name of the version that is served where `active` would be but for the target's waiting rollbacks: never one
    that was rolled back; None where none is left."""
    gone = {*target.rolled_back, *(entry.version for entry in waiting)}
    if active not in gone:
        return active
    back = {entry.version: entry.back_to for entry in waiting}
    while active is not None and active in back:
        active = back.pop(active)
    if active is None or (active in target.versions and active not in gone):
        return active
    return next((name for name in target.ways_back if name not in gone), None)


def _entry(line: dict[str, Json]) -> ServerRollback:
    entry = parse(ServerRollback, line)
    if entry.schema != SCHEMA:
        raise ValueError(f"schema {entry.schema}")
    return entry


def _path(run_dir: Path) -> Path:
    return run_dir / FOLDER_NAME / ROLLBACKS_NAME
