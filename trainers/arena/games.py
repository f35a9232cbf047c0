"""Scored games: fixed, padded rows, one fight per seed, the policy called with all rows every tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainers.arena.rules import Floats

Policy = Callable[[Floats], NDArray[Any]]
"""Observations of all rows to what each does; it may remember, for as long as its fights last."""


class Step(Protocol):
    """One tick of every fight."""

    @property
    def observation(self) -> Floats: ...
    @property
    def reward(self) -> Floats: ...
    @property
    def done(self) -> NDArray[np.bool_]: ...
    @property
    def score(self) -> Floats:
        """(rows,): win 1, draw 1/2, loss 0; means something where `done`."""


class Arena(Protocol):
    """Fights side by side that stand still once they are decided."""

    rows: int

    def start(self, seeds: ArrayLike, rows: ArrayLike | None = None) -> Floats: ...
    def step(self, actions: Any) -> Step: ...
    @property
    def active(self) -> NDArray[np.bool_]: ...
    @property
    def observation(self) -> Floats: ...


def play_games(
    open_policy: Callable[[], Policy], open_arena: Callable[[int], Arena], first_seed: int, games: int, rows: int = 128
) -> NDArray[np.float64]:
    """Scores (win 1, draw 1/2, loss 0) of games first_seed, first_seed + 1, ... in that order, shape (games,).

    Seed s is always played in row s modulo `rows`, so that a score does not depend on how games are grouped into
    calls even where a policy's arithmetic depends on the row. Rows without a game stand still and are discarded.
    `open_arena` is given the number of rows.
    """
    scores = np.empty(games, np.float64)
    for begin in range(0, games, rows):
        count = min(rows, games - begin)
        seeds = np.arange(count, dtype=np.uint64) + np.uint64(first_seed + begin)
        scores[begin : begin + count] = _play_block(open_policy(), open_arena(rows), seeds)
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
