"""`incumbent gc`: what the run folder no longer needs, shown or removed. A running supervisor does so by itself."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import typer

from supervisor.clock import Clock
from supervisor.commands.identity import remembering
from supervisor.config.load import load_settings
from supervisor.contract import Json
from supervisor.errors import LockHeldError, UsageError
from supervisor.journal.events import Events
from supervisor.journal.identity import RunIdentity, RunLock, load_identity
from supervisor.journal.recovery import examine, recover
from supervisor.retention import Kind, Limits, Needless, needless

LOOKS = 20  # beside a running supervisor files vanish while they are looked at
MB = 2**20


def collect_garbage(run_dir: Path, config: Path | None, dry_run: bool, as_json: bool) -> int:
    """Print what may go, by kind; remove it unless `dry_run`.

    Raises LockHeldError where a supervisor works, DamagedStateError where none would start: then nothing is removed.
    """
    identity = load_identity(run_dir) if run_dir.is_dir() else None
    if identity is None:
        raise UsageError(f"{run_dir} holds no run; give the --run-dir of one")
    limits = _limits(config, identity)
    if dry_run:
        found = _look(run_dir, identity, limits)
        freed = summary(found)
    else:
        with _alone(run_dir):
            found, freed = _collect(run_dir, identity, limits)
    if as_json:
        total = sum(item.bytes for item in found)
        typer.echo(json.dumps({"dry_run": dry_run, "kinds": freed, "total_bytes": total}, indent=2))
    else:
        typer.echo(_table(run_dir, freed, dry_run))
    return 0


def _limits(config: Path | None, identity: RunIdentity) -> Limits:
    """As the run was started last, but for what file and environment say now."""
    return Limits.of(remembering(identity, load_settings(config, os.environ, {})).settings)


@contextlib.contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    lock = RunLock(run_dir)
    try:
        lock.acquire()
    except LockHeldError as error:
        raise LockHeldError(
            f"a supervisor (pid {lock.holder() or 'unknown'}) works in {run_dir} and removes by itself what it no"
            " longer needs; see what there is with --dry-run, or stop it first (incumbent stop)"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _collect(run_dir: Path, identity: RunIdentity, limits: Limits) -> tuple[list[Needless], dict[str, Json]]:
    """Remove it, starting from what a supervisor would start from; what is gone."""
    events = Events(run_dir, Clock().now_text, lambda text: None)
    recovered = recover(run_dir, identity.run_id, identity.window)
    for note in recovered.notes:
        events.write(note.event, note.reason)
    found = _removed(needless(run_dir, recovered.states, limits))
    freed = summary(found)
    if found:
        events.write("gc", f"removed {_in_words(freed)}")
    return found, freed


def _look(run_dir: Path, identity: RunIdentity, limits: Limits) -> list[Needless]:
    for _ in range(LOOKS - 1):
        with contextlib.suppress(FileNotFoundError):
            return needless(run_dir, examine(run_dir, identity.run_id, identity.window).states, limits)
    return needless(run_dir, examine(run_dir, identity.run_id, identity.window).states, limits)


def _removed(found: Sequence[Needless]) -> list[Needless]:
    """What is gone now; of the rest standard error says why."""
    gone = []
    for item in found:
        if problem := item.remove():
            typer.echo(problem, err=True)
        else:
            gone.append(item)
    return gone


def summary(found: Sequence[Needless]) -> dict[str, Json]:
    """Count and bytes of every kind."""
    by_kind: dict[str, Json] = {}
    for kind in Kind:
        sizes = [item.bytes for item in found if item.kind is kind]
        by_kind[kind.value] = {"count": len(sizes), "bytes": sum(sizes)}
    return by_kind


def _rows(freed: Mapping[str, Json]) -> list[tuple[str, int, int]]:
    figures = cast(Mapping[str, Mapping[str, int]], freed)
    return [(kind, entry["count"], entry["bytes"]) for kind, entry in figures.items()]


def _in_words(freed: Mapping[str, Json]) -> str:
    return ", ".join(f"{count} {kind} ({size / MB:.1f} MB)" for kind, count, size in _rows(freed) if count)


def _table(run_dir: Path, freed: Mapping[str, Json], dry_run: bool) -> str:
    rows = _rows(freed)
    rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    lines = [f"{kind:24}{count:>8}{size / MB:>12.1f} MB" for kind, count, size in rows]
    return "\n".join([f"{run_dir}: {'would be removed' if dry_run else 'removed'}", *lines])
