"""One target's definition for commands that train beside a run: its default configuration at the folder's scale."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.commands.chosen import refuse_unknown
from supervisor.errors import UsageError
from supervisor.journal.identity import load_identity
from supervisor.search.setup import load_setup
from supervisor.search.target import TargetDefinition

SCALE = "run.scale"
EPOCHS = 100  # of a default budget: what the founding documents train for


def definitions(run_dir: Path, config: Path | None, scale: str | None = None) -> dict[str, TargetDefinition]:
    """Every built-in target, by key; at the scale that the folder was started with unless one is given."""
    identity = load_identity(run_dir) if run_dir.is_dir() else None
    wanted = scale or (identity.decides.get(SCALE) if identity else None)
    flags: dict[str, object] = {"run.targets": ["*"], **({SCALE: wanted} if wanted else {})}
    found = load_setup(config, os.environ, flags).targets
    return {key: target for key, target in found.items() if target.kind == "arena"}


def one_target(known: dict[str, TargetDefinition], archetype: str, model_type: str) -> TargetDefinition:
    """Raises UsageError naming what there is instead."""
    pairs = [key.split("/", 1) for key in known]
    refuse_unknown([([archetype], (one for one, _ in pairs)), ([model_type], (other for _, other in pairs))])
    key = f"{archetype}/{model_type}"
    if key not in known:
        raise UsageError(f"{key} is no built-in target")
    return known[key]


def steps_of(target: TargetDefinition, epochs: int | None) -> int:
    """The default budget, or so many hundredths of it."""
    return target.steps if epochs is None else max(1, target.steps * epochs // EPOCHS)


def seed_of(run_dir: Path, given: int | None) -> int:
    """The one given, else the folder's, else 0."""
    if given is not None:
        return given
    identity = load_identity(run_dir) if run_dir.is_dir() else None
    return identity.seed if identity else 0
