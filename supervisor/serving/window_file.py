"""`serving/windows/archetype.model_type.jsonl`: the watch over a target's newest version, so that a server that is
killed goes on with it.

The first line says which version is watched against which, each other one what was added, the last one how it ended.
It is written beside the event loop, a moment after it happened; what a kill takes with it is that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.contract import SCHEMA, Version, as_json, parse
from supervisor.journal import durable, sealed
from supervisor.registry.server_rollbacks import FOLDER_NAME
from supervisor.serving.slots import oip_name
from supervisor.serving.window import Pair, Verdict

WINDOWS_FOLDER = "windows"


@dataclass(frozen=True)
class Baseline:
    """What a version scored in production when it was last found stable."""

    version: str
    games: int
    mean_score: float


@dataclass(frozen=True)
class Opened:
    """Which versions are compared. The hashes say which versions of those names."""

    target: str
    new: str
    new_sha256: str
    old: str
    old_sha256: str
    at: str
    is_canary: bool = False
    baseline: Baseline | None = None  # until there is a newer one
    schema: int = SCHEMA

    @staticmethod
    def of(target: str, new: Version, old: Version, at: str, is_canary: bool, baseline: Baseline | None) -> Opened:
        return Opened(target, new.name, new.model_sha256, old.name, old.model_sha256, at, is_canary, baseline)


@dataclass(frozen=True)
class Added:
    """Since the line before. `elapsed_s` is how long the window had been open then, without the server's absence."""

    elapsed_s: float
    pairs: Sequence[Pair] = ()
    faults: Sequence[str] = ()
    verdict: Verdict = Verdict.WATCHING
    baseline: Baseline | None = None
    pairs_before: int = 0  # in the lines before; a line that was written twice counts once
    faults_before: int = 0


@dataclass(frozen=True)
class Kept:
    """What the file says."""

    opened: Opened
    pairs: tuple[Pair, ...]
    faults: tuple[str, ...]
    elapsed_s: float
    verdict: Verdict
    baseline: Baseline | None


def begin(run_dir: Path, opened: Opened) -> None:
    """Replace the target's file. Raises OSError and what `durable` raises."""
    path = path_of(run_dir, opened.target)
    durable.make_folder(path.parent)
    durable.write_atomic(path, sealed.encode_line(as_json(opened)))


def add(run_dir: Path, target: str, added: Added) -> None:
    sealed.append_line(path_of(run_dir, target), as_json(added))


def read(run_dir: Path, target: str) -> Kept | None:
    """None where there is none, or none that can be made out: then nothing is watched, and nobody is worse off."""
    try:
        first, *lines = sealed.read_lines(path_of(run_dir, target), dict).whole
        opened = parse(Opened, first)
        added = [parse(Added, line) for line in lines]
    except (OSError, ValueError):
        return None
    if opened.schema != SCHEMA or opened.target != target:
        return None
    pairs: list[Pair] = []
    faults: list[str] = []
    for item in added:
        pairs += [(old, new) for old, new in item.pairs[max(0, len(pairs) - item.pairs_before) :]]
        faults += item.faults[max(0, len(faults) - item.faults_before) :]
    return Kept(
        opened,
        tuple(pairs),
        tuple(faults),
        max((item.elapsed_s for item in added), default=0.0),
        added[-1].verdict if added else Verdict.WATCHING,
        next((item.baseline for item in reversed(added) if item.baseline), opened.baseline),
    )


def path_of(run_dir: Path, target: str) -> Path:
    return run_dir / FOLDER_NAME / WINDOWS_FOLDER / f"{oip_name(target).replace('/', '_')}.jsonl"
