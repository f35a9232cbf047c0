"""Small things the arena's tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainers.arena.arena import Arena, Step
from trainers.arena.games import Policy, play_games
from trainers.arena.randomness import uniforms
from trainers.arena.rules import ACTIONS, Ints


def actions_of(seeds: NDArray[np.uint64], tick: int) -> Ints:
    """Actions that are a function of (fight seed, tick) alone, so that a fight is the same fight in any batch."""
    rolls = uniforms(seeds + np.uint64(10**9), np.full(len(seeds), tick, np.uint64), 1)[0]
    return (rolls * ACTIONS).astype(np.int64)


def play(arena: Arena, seeds: NDArray[np.uint64], ticks: int) -> list[Step]:
    """Fights `seeds` in rows 0, 1, ... under `actions_of`."""
    arena.start(seeds)
    return [arena.step(actions_of(seeds, tick)) for tick in range(ticks)]


def always(action: int) -> Callable[[NDArray[np.float32]], Ints]:
    """A policy of one action."""
    return lambda observation: np.full(len(observation), action, np.int64)


def combat_scores(
    policy: Policy,
    archetype: str,
    level: int,
    first_seed: int,
    games: int,
    rows: int = 128,
    strength: float | None = None,
) -> NDArray[np.float64]:
    """Scored combat fights of a policy that remembers nothing."""
    return play_games(
        lambda: policy,
        lambda width: Arena(width, archetype, level, reopen=False, strength=strength),
        first_seed,
        games,
        rows,
    )
