"""Scored games: fixed, padded rows, one fight per seed, the policy called with all rows every tick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainers.arena.arena import Arena
from trainers.arena.rules import Floats, Ints

Policy = Callable[[Floats], Ints]
"""Observations of all rows, (rows, 64) float32, to one action each, (rows,) integers from 0 to 9."""


def play_games(
    policy: Policy,
    archetype: str,
    level: int,
    first_seed: int,
    games: int,
    rows: int = 128,
    strength: float | None = None,
) -> NDArray[np.float64]:
    """Scores (win 1, draw 1/2, loss 0) of games first_seed, first_seed + 1, ... in that order, shape (games,).

    Seed s is always played in row s modulo `rows`, so that a score does not depend on how games are grouped into
    calls even where a policy's arithmetic depends on the row. Rows without a game stand still and are discarded.
    `strength` overrides the level's calibrated one.
    """
    scores = np.empty(games, np.float64)
    for begin in range(0, games, rows):
        count = min(rows, games - begin)
        seeds = np.arange(count, dtype=np.uint64) + np.uint64(first_seed + begin)
        arena = Arena(rows, archetype, level, reopen=False, strength=strength)
        scores[begin : begin + count] = _play_block(policy, arena, seeds)
    return scores


def _play_block(policy: Policy, arena: Arena, seeds: NDArray[np.uint64]) -> Floats:
    where = (seeds % np.uint64(arena.rows)).astype(np.int64)
    observation = arena.start(seeds, where)
    scores = np.full(arena.rows, -1, np.float32)
    while arena.active.any():
        step = arena.step(policy(observation))
        np.copyto(scores, step.score, where=step.done)
        observation = step.observation
    return scores[where]
