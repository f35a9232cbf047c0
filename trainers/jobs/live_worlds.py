"""The games that a live player can play: what it sees, and what its numbers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from supervisor.errors import UsageError
from trainers.algorithms.environment import Environment
from trainers.arena import levels
from trainers.arena.arena import ACTION_COUNT, Arena
from trainers.arena.rewards import effective_weights
from trainers.arena.skills import SLOTS, SkillArena


@dataclass(frozen=True)
class World:
    """Fights side by side that go on for ever, and how many actions there are in them."""

    environment: Environment
    actions: int


def _combat(rows: int, archetype: str, level: int, first_seed: int) -> World:
    arena = Arena(rows, archetype, level, effective_weights(archetype, {}))
    arena.start(_seeds(first_seed, rows))
    return World(cast(Environment, arena), ACTION_COUNT)


def _skills(rows: int, archetype: str, level: int, first_seed: int) -> World:
    strength = levels.strength(archetype, level, "skill_dqn")
    arena = SkillArena(rows, archetype, level, effective_weights(archetype, {}), strength=strength)
    arena.start(_seeds(first_seed, rows))
    return World(cast(Environment, arena), SLOTS)


WORLDS: Final[Mapping[str, Callable[[int, str, int, int], World]]] = {"combat_dqn": _combat, "skill_dqn": _skills}
"""By model type."""


def open_world(target: str, rows: int, level: int, first_seed: int) -> World:
    """Rewards are under the archetype's default weights. Raises UsageError for what cannot be played so."""
    archetype, _, model_type = target.partition("/")
    if model_type not in WORLDS:
        raise UsageError(f"{target}: live play is there for {', '.join(sorted(WORLDS))}")
    return WORLDS[model_type](rows, archetype, level, first_seed)


def _seeds(first: int, rows: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.arange(first, first + rows, dtype=np.uint64)
