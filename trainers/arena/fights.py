"""The state of many fights at once, as arrays with the fights on the last axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.arena.randomness import Seeds, uniforms
from trainers.arena.rules import (
    ALLY,
    CODES,
    FOE,
    LEARNER,
    Floats,
    Ints,
    gain_table,
    goal_table,
    pace_table,
    power_table,
    stride_table,
)
from trainers.arena.stats import ALLIED, ARCHETYPES, BANDS, COMPANION, Fighter
from trainers.arena.stats import FOE as FOE_FIGHTER

Bools = NDArray[np.bool_]

# Rows of `Fights.body`, each of shape (fighters, fights).
X, Y, HEALTH, MANA, WINDUP, STUN, BUFFED, GUARD = range(8)
BODY = 8

_OPENING_TICK = np.uint64(2**32)  # the draws that place the fighters lie beyond any tick of play
_OPENING_THREAT = 6.0


class Sides:
    """The numbers of the two or three fighters of a fight, as columns that broadcast over the fights."""

    def __init__(self, archetype: str, foe_strength: float) -> None:
        fighters = [ARCHETYPES[archetype], FOE_FIGHTER]
        if archetype in ALLIED:
            fighters.append(COMPANION)
        damage = [1.0, math.sqrt(foe_strength), 1.0][: len(fighters)]
        self.archetype = archetype
        self.learner: Fighter = fighters[LEARNER]
        self.allied = archetype in ALLIED
        self.count = len(fighters)
        self.health = self._column([f.health for f in fighters])
        self.health[FOE] *= np.float32(foe_strength)
        self.mana = self._column([f.mana for f in fighters])
        self.armour = self._column([f.armour for f in fighters])
        self.heal = self._column([f.heal for f in fighters])
        self.power = np.concatenate([power_table(f, d) for f, d in zip(fighters, damage, strict=True)])
        self.gain = np.concatenate([gain_table(f) for f in fighters])
        self.pace = np.concatenate([pace_table(f) for f in fighters])
        self.goal = np.concatenate([goal_table(f) for f in fighters])
        self.stride = stride_table(self.learner)
        self.rows = np.arange(self.count, dtype=np.int64)[:, None] * CODES
        self.band = BANDS.get(archetype, (0.0, 0.0))

    @staticmethod
    def _column(values: list[float]) -> Floats:
        return np.array(values, np.float32)[:, None]


@dataclass
class Fights:
    """Arrays of n fights between `sides`; rows never change places."""

    sides: Sides
    body: Floats  # (8, fighters, n): X Y HEALTH MANA WINDUP STUN BUFFED GUARD
    ready: Floats  # (fighters, 12, n): the tick at which an action may be used again
    readied: Ints  # (fighters, n): the action being wound up
    threat: Floats  # (2, n): how much the foe minds the learner, the ally
    aim: Bools  # (n,): the foe has turned to the ally
    last_hit: Floats  # (n,): tick of the learner's last hit
    tick: Floats  # (n,)
    seed: Seeds  # (n,)
    active: Bools  # (n,): not decided yet; a decided fight stands still in its row
    edge: Floats | None = None  # (12, n): what the learner's skills make of its blows; a function of the seeds

    @classmethod
    def empty(cls, sides: Sides, n: int) -> Fights:
        """Rows without a fight in them: `open_rows` puts them in."""
        return cls(
            sides=sides,
            body=np.zeros((BODY, sides.count, n), np.float32),
            ready=np.zeros((sides.count, CODES, n), np.float32),
            readied=np.zeros((sides.count, n), np.int64),
            threat=np.zeros((2, n), np.float32),
            aim=np.zeros(n, np.bool_),
            last_hit=np.zeros(n, np.float32),
            tick=np.zeros(n, np.float32),
            seed=np.zeros(n, np.uint64),
            active=np.zeros(n, np.bool_),
        )

    def open_rows(self, rows: Ints, seeds: Seeds) -> None:
        """Start fight `seeds[i]` in row `rows[i]`: where everyone stands is drawn from the seed alone."""
        u = uniforms(seeds, np.full(len(seeds), _OPENING_TICK), 2)
        self.body[:, :, rows] = 0
        self.body[HEALTH][:, rows] = self.sides.health
        self.body[MANA][:, rows] = self.sides.mana
        x, y = self.body[X], self.body[Y]
        x[LEARNER, rows] = 5 + 4 * u[0]
        y[LEARNER, rows] = 8 + 8 * u[1]
        x[FOE, rows] = 15 + 4 * u[2]
        y[FOE, rows] = 8 + 8 * u[3]
        self.ready[:, :, rows] = 0
        self.readied[:, rows] = 0
        self.threat[:, rows] = 0
        self.aim[rows] = False
        if self.sides.allied:
            x[ALLY, rows] = x[LEARNER, rows] + 1 + 2 * u[4]
            y[ALLY, rows] = y[LEARNER, rows] + 4 * u[5] - 2
            self.aim[rows] = u[6] < 0.5
            self.threat[1, rows] = _OPENING_THREAT * (u[6] < 0.5)
        self.last_hit[rows] = -100
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
                    f"arena state: {name} is {theirs.dtype}{theirs.shape}, this arena needs {mine.dtype}{mine.shape}"
                )
            mine[...] = theirs


_ARRAYS = ("body", "ready", "readied", "threat", "aim", "last_hit", "tick", "seed", "active")
