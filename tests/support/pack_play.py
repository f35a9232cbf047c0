"""Small things the tests of packs share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.arena.packs.arena import PackArena, PackStep
from trainers.arena.packs.rules import ORDERS
from trainers.arena.randomness import uniforms
from trainers.arena.rules import Ints


def orders_of(seeds: NDArray[np.uint64], turn: int, pack: int = 5) -> Ints:
    """Orders that are a function of (fight seed, turn) alone, so that a fight is the same fight in any batch."""
    rolls = uniforms(seeds + np.uint64(10**9), np.full(len(seeds), turn, np.uint64), 2)[:pack]
    return np.ascontiguousarray((rolls * ORDERS).astype(np.int64).T)


def play(arena: PackArena, seeds: NDArray[np.uint64], turns: int) -> list[PackStep]:
    """Fights `seeds` in rows 0, 1, ... under `orders_of`."""
    arena.start(seeds)
    return [arena.step(orders_of(seeds, turn, arena.pack_size)) for turn in range(turns)]


def win_rate(orders: object, archetype: str, strength: float, fights: int, seed: int = 0) -> float:
    """Of a rule (observation -> orders), or of one order for everybody all the time."""
    arena = PackArena(fights, archetype, 3, strength, reopen=False)
    observation = arena.start(np.arange(seed, seed + fights))
    scores = np.zeros(fights)
    while arena.active.any():
        told = orders(observation) if callable(orders) else np.full((fights, 5), orders, np.int64)
        step = arena.step(told)
        scores[step.done] = step.score[step.done]
        observation = step.observation
    return float(scores.mean())
