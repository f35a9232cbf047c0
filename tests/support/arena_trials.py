"""Small trials of the built-in kind, with the shipped search space's defaults."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from supervisor.contract import Params, TrialSpec, Version
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.target import TargetDefinition
from trainers.models.combat_dqn import FIGHTS
from trainers.single import single_spec
from trainers.target import StopRequested

RESUME_PARAMS = {"dqn.dropout": 0.1, "dqn.batch_size": 32, "dqn.updates": 1, "dqn.target_interval": 5}
"""Cheap steps in which every part of the training's state matters."""


@cache
def _definition(target: str, scale: str) -> TargetDefinition:
    return load_definitions([BUILT_IN], [target], scale)[target]


def default_params(target: str = "aggressive/combat_dqn", scale: str = "small") -> dict:
    """The complete default configuration, searched and fixed."""
    definition = _definition(target, scale)
    return {**definition.space.defaults(), **definition.fixed}


def default_steps(target: str, scale: str = "small") -> int:
    return _definition(target, scale).steps


def small_spec(
    rows: int = 24, seed: int = 7, params: Params | None = None, start: Version | None = None, **changes
) -> TrialSpec:
    """A trial of `rows` steps of all fights."""
    chosen = {**default_params(), "dqn.learning_starts": 4, "dqn.replay_rows": 16, **(params or {})}
    spec = single_spec("aggressive/combat_dqn", 1, chosen, rows * FIGHTS, seed)
    return replace(spec, start=start, **changes)


def trial_folder(run_dir: Path, name: str = "000001") -> Path:
    """A trial's folder as it lies in a run folder."""
    folder = run_dir / "trials" / name
    folder.mkdir(parents=True)
    return folder


class StopAt:
    """A Control that asks to stop once the training has come to `step`."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stop_requested = False

    def beat(self, step: int) -> None:
        self.stop_requested = step >= self.step

    def check(self) -> None:
        if self.stop_requested:
            raise StopRequested
