"""`checkpoint.json`: a snapshot of the fold, so that a restart need not replay the log and survives its loss.

It holds the state `base` as of iteration - W + 1 and the records after it: with a window W the next proposals are made
from older states than the newest one. The current snapshot and the one before it are kept.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.contract import SCHEMA, Params, as_json, parse
from supervisor.journal import durable, sealed
from supervisor.record import Record
from supervisor.state import State, fold_all

CHECKPOINT_NAME = "checkpoint.json"
PREVIOUS_NAME = "checkpoint.previous.json"


@dataclass(frozen=True)
class Snapshot:
    """The top-level figures repeat what `base` and `tail` hold, for people and jq."""

    run_id: str
    seed: int
    iteration: int
    total_games: int
    best_win_rate: float | None
    best_target: str | None
    best_config: Params
    base: State
    tail: tuple[Record, ...]
    versions: Mapping[str, str] = field(default_factory=dict)  # of this program and its libraries
    schema: int = SCHEMA

    def state(self) -> State:
        return fold_all(self.base, self.tail)


def snapshot_of(run_id: str, seed: int, base: State, tail: tuple[Record, ...], versions: Mapping[str, str]) -> Snapshot:
    state = fold_all(base, tail)
    best = state.best_target()
    incumbent = state.target(best).incumbent if best else None
    return Snapshot(
        run_id=run_id,
        seed=seed,
        iteration=state.iteration,
        total_games=state.total_games,
        best_win_rate=state.target(best).pool.rate if best else None,
        best_target=best,
        best_config=dict(incumbent.params) if incumbent else {},
        base=base,
        tail=tail,
        versions=versions,
    )


def save(run_dir: Path, snapshot: Snapshot) -> None:
    """Write the snapshot; the one before it stays as `checkpoint.previous.json`."""
    path = run_dir / CHECKPOINT_NAME
    durable.link_previous(path, run_dir / PREVIOUS_NAME)
    sealed.write(path, as_json(snapshot))


def load(run_dir: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest intact snapshot, and a sentence for each file that is there and is not intact.

    Raises IsADirectoryError for a folder in the place of one: the next snapshot could not be written.
    """
    problems: list[str] = []
    for name in (CHECKPOINT_NAME, PREVIOUS_NAME):
        path = run_dir / name
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for name in (CHECKPOINT_NAME, PREVIOUS_NAME):
        path = run_dir / name
        try:
            return parse(Snapshot, sealed.decode(path.read_bytes(), trusting=False)), problems
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            problems.append(
                f"{path} is damaged or was edited ({_first_line(error)}); the one before it, or the log, serves instead"
            )
    return None, problems


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
