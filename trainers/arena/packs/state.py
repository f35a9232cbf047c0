"""The state of many pack fights at once, as arrays with the fights on the last axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.arena.fights import Bools
from trainers.arena.packs.rules import COOLED, OURS, THEIRS, Arms
from trainers.arena.randomness import LANES, Seeds, uniforms
from trainers.arena.rules import FIELD, Floats, Ints

# Rows of `Packs.body`, each of shape (2, pack size, fights).
X, Y, HEALTH, MANA, WINDUP, STUN, BUFFED, GUARDED, HELD = range(9)
BODY = 9

_OPENING_TICK = np.uint64(2**32)  # the draws that place the fighters lie beyond any tick of play
LONG_AGO = -100.0


@dataclass
class Packs:
    """Arrays of n fights; rows never change places. Ours is the learner's pack, theirs the scripted one."""

    arms: Arms
    body: Floats  # (9, 2, pack, n): X Y HEALTH MANA WINDUP STUN BUFFED GUARDED HELD (challenged: ticks left)
    cooling: Floats  # (4, 2, pack, n): ticks until the orders COOLED may be used again
    aim: Ints  # (2, pack, n): which fighter of the other pack each is after
    last_hit: Floats  # (pack, n): tick of our members' last hits
    tick: Floats  # (n,)
    seed: Seeds  # (n,)
    active: Bools  # (n,): not decided yet; a decided fight stands still in its row

    @classmethod
    def empty(cls, arms: Arms, n: int) -> Packs:
        """Rows without a fight in them: `open_rows` puts them in."""
        size = arms.pack_size
        return cls(
            arms=arms,
            body=np.zeros((BODY, 2, size, n), np.float32),
            cooling=np.zeros((len(COOLED), 2, size, n), np.float32),
            aim=np.zeros((2, size, n), np.int64),
            last_hit=np.zeros((size, n), np.float32),
            tick=np.zeros(n, np.float32),
            seed=np.zeros(n, np.uint64),
            active=np.zeros(n, np.bool_),
        )

    @property
    def standing(self) -> Bools:
        """Who is on his feet, (2, pack, n)."""
        up: Bools = self.body[HEALTH] > 0
        return up

    def open_rows(self, rows: Ints, seeds: Seeds) -> None:
        """Start fight `seeds[i]` in row `rows[i]`: where everyone stands is drawn from the seed alone."""
        size = self.arms.pack_size
        blocks = -(-4 * size // LANES)
        u = uniforms(seeds, np.full(len(seeds), _OPENING_TICK), blocks)[: 4 * size].reshape(2, 2, size, len(seeds))
        self.body[..., rows] = 0
        self.body[HEALTH][..., rows] = self.arms.health
        self.body[MANA][..., rows] = self.arms.mana
        self.body[X, OURS][:, rows] = 3 + 5 * u[0, OURS]
        self.body[X, THEIRS][:, rows] = np.float32(FIELD) - 3 - 5 * u[0, THEIRS]
        self.body[Y][..., rows] = 5 + 14 * u[1]
        self.cooling[..., rows] = 0
        self.aim[..., rows] = np.arange(size)[None, :, None]
        self.last_hit[:, rows] = LONG_AGO
        self.tick[rows] = 0
        self.seed[rows] = seeds
        self.active[rows] = True

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name; not copies."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def restore(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over copies of saved arrays. Raises ValueError when they are of other fights than these."""
        for name in _ARRAYS:
            mine, theirs = getattr(self, name), np.asarray(saved[name])
            if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
                raise ValueError(
                    f"pack arena state: {name} is {theirs.dtype}{theirs.shape}, this arena needs"
                    f" {mine.dtype}{mine.shape}"
                )
            mine[...] = theirs


_ARRAYS = ("body", "cooling", "aim", "last_hit", "tick", "seed", "active")
