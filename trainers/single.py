"""One training outside the supervisor: calibration, benchmarks and tests ask for no more than this."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from supervisor.contract import Budget, Params, TrialSpec
from trainers.arena_target import ArenaTarget
from trainers.target import Built

GAMES_SEED = 2**50  # the games' seeds lie far from those of the training


class Undisturbed:
    """A Control that never asks to stop."""

    stop_requested = False

    def beat(self, step: int) -> None: ...

    def check(self) -> None: ...


@dataclass(frozen=True)
class Single:
    """What was built, and the mean score of its games in [0, 1]."""

    built: Built
    score: float


def single_spec(target: str, level: int, params: Params, steps: int, seed: int) -> TrialSpec:
    """The spec of a trial that stands alone. `steps` are environment steps."""
    return TrialSpec(
        run_id="single",
        iteration=1,
        target=target,
        kind="arena",
        purpose="manual",
        sampler="manual",
        params=params,
        level=level,
        scale="small",
        budget=Budget(steps=steps, wall_s=86400.0, ram_mb=4096),
        games=0,
        seeds={"train": seed},
    )


def train_and_score(archetype: str, level: int, params: Params, steps: int, seed: int, games: int) -> Single:
    """Train a combat_dqn from scratch for `steps` environment steps, export it, play `games` games with the file."""
    return train_target(f"{archetype}/combat_dqn", level, params, steps, seed, games)


def train_target(target: str, level: int, params: Params, steps: int, seed: int, games: int) -> Single:
    """The same for any target of the arena."""
    spec = single_spec(target, level, params, steps, seed)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "trials" / "000001"
        folder.mkdir(parents=True)
        trial = ArenaTarget(spec, folder, Undisturbed())
        built = trial.build(params, folder)
        scores = trial.candidate(params, built).play(GAMES_SEED + seed, games)
    return Single(built, sum(scores) / games)
