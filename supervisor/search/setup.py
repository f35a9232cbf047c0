"""Everything a start needs to know, settings and targets, with the mistakes of all files in one list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from supervisor.config.load import Loaded, read_settings
from supervisor.config.settings import Settings
from supervisor.contract import Json
from supervisor.errors import ConfigurationError
from supervisor.search.definitions import BUILT_IN, read_definitions
from supervisor.search.target import TargetDefinition


@dataclass(frozen=True)
class Setup:
    """One start's settings and its active targets, by key."""

    loaded: Loaded
    targets: Mapping[str, TargetDefinition]

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def decides(self) -> dict[str, Json]:
        """Everything a run's identity covers, by dotted name: the settings that decide, and each target's digest."""
        targets: dict[str, Json] = {f"targets.{key}": target.digest() for key, target in self.targets.items()}
        return {**self.settings.decides(), **targets}


def load_setup(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object], built_in: Path = BUILT_IN
) -> Setup:
    """Settings and targets of a start.

    Raises ConfigurationError with every mistake in the settings and in all search-space files.
    """
    loaded, problems = read_settings(path, environ, flags)
    settings = loaded.settings
    folders = [built_in, *([settings.run.search_spaces] if settings.run.search_spaces else [])]
    targets, more = read_definitions(folders, settings.run.targets, settings.run.scale, settings.targets, loaded.places)
    problems += _missing_packages(loaded)
    if problems or more:
        raise ConfigurationError([*problems, *(problem for problem in more if problem not in problems)])
    return Setup(loaded, {key: _budgeted(target, settings) for key, target in targets.items()})


def _missing_packages(loaded: Loaded) -> list[str]:
    """What a setting needs and is not installed, with how to get it."""
    if not loaded.settings.run.tensorboard or find_spec("tensorboard") is not None:
        return []
    where = loaded.places.get(("run", "tensorboard"), "run.tensorboard")
    return [f"{where}: the package tensorboard is not installed; .venv/bin/pip install tensorboard, or leave it off"]


def _budgeted(target: TargetDefinition, settings: Settings) -> TargetDefinition:
    """The target with the settings' budgets; what its own section under `targets` says about steps goes first."""
    own = settings.targets.get(target.key)
    budgets = settings.budgets
    steps = target.steps
    if budgets.steps is not None and target.steps > 0 and not (own and own.steps):
        steps = budgets.steps
    return replace(target, steps=steps, wall_s=budgets.wall_s or target.wall_s)
