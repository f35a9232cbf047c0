"""What a learner sees as a map: a window of 24 by 24 steps around it, one plane per thing.

| plane | what a cell shows |
|---|---|
| 0 | the learner: a spot, as bright as its health |
| 1 | the foe, the same |
| 2 | the ally, the same |
| 3 | danger: within reach of what the foe winds up, the brighter the sooner it lands |
| 4 | where the foe's quick blows reach |
| 5 | from where the learner's heavy blow and strike would reach the foe |
| 6 | how far the foe is, up to where the archetype likes to stand: bright there, dark nearer and further |
| 7 | beyond the walls |

Beside the map a network is given the 64 numbers of the observation: cooldowns and timers have no place on a map. Only
operations that IEEE 754 rounds exactly are used, so that a map does not depend on the rows it is drawn with.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from trainers.arena import rules
from trainers.arena.arena import Arena
from trainers.arena.fights import X, Y
from trainers.arena.observation import (
    ALLY_FROM,
    ARCHETYPE_FROM,
    CHARGED,
    FIELD_FROM,
    FIGHTER_COLUMNS,
    FOE_FROM,
    WIDTH,
)
from trainers.arena.rules import ALLY, BASH, HEAVY, LEARNER, SPELL, STRIKE, Floats
from trainers.arena.stats import ARCHETYPES

SIDE: Final = 24
PLANES: Final = 8
SKETCH_WIDTH: Final = WIDTH + 2

SCALARS: Final = WIDTH

_KINDS = slice(FOE_FROM + FIGHTER_COLUMNS - len(CHARGED), FOE_FROM + FIGHTER_COLUMNS)
_REACHES = np.where(np.isin(CHARGED, (HEAVY, SPELL)), rules.REACH[list(CHARGED)], 0).astype(np.float32)
_LIKED = np.array([fighter.distance for fighter in ARCHETYPES.values()], np.float32)
_CELLS = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)  # steps from the learner
_SPOT = np.float32(0.6)  # brightness lost per step from the middle of a spot
_BAND = np.float32(0.25)
_ONE, _ZERO = np.float32(1), np.float32(0)


class MappedArena(Arena):
    """Fights in which the learner is shown a sketch: the observation and, in two more columns, the way to the ally."""

    def start(self, seeds: ArrayLike, rows: ArrayLike | None = None) -> Floats:
        super().start(seeds, rows)
        return self.observation

    @property
    def observation(self) -> Floats:
        """(rows, SKETCH_WIDTH): what `planes` and `scalars` are drawn from."""
        body = self.state()["body"].astype(np.float32, copy=False)
        way = np.zeros((self.rows, 2), np.float32)
        if body.shape[1] > ALLY:
            way[:] = (body[[X, Y], ALLY] - body[[X, Y], LEARNER]).T
        return np.concatenate([super().observation, way], 1)


def scalars(sketch: Floats) -> Floats:
    """The observation that the map goes with, (rows, SCALARS)."""
    return sketch[:, :SCALARS]


def planes(sketch: Floats) -> Floats:
    """The maps, (rows, PLANES, SIDE, SIDE); rows of a map go north, columns east."""
    drawn = np.zeros((len(sketch), PLANES, SIDE, SIDE), np.float32)
    foe_way = sketch[:, FIELD_FROM + 5 : FIELD_FROM + 7] * (sketch[:, FIELD_FROM, None] * np.float32(10))
    to_foe = _distance(foe_way)
    drawn[:, 0] = _spot(_distance(np.zeros_like(foe_way)), sketch[:, 0])
    drawn[:, 1] = _spot(to_foe, sketch[:, FOE_FROM])
    drawn[:, 2] = _spot(_distance(sketch[:, WIDTH:]), sketch[:, ALLY_FROM + 1])
    winding = (sketch[:, _KINDS] * _REACHES).max(1)
    soon = (sketch[:, FOE_FROM + 2] > 0) * (np.float32(1.5) - sketch[:, FOE_FROM + 2])
    drawn[:, 3] = (to_foe <= _wide(winding + np.float32(rules.REACH_SLACK))) * _wide((winding > 0) * soon)
    drawn[:, 4] = to_foe <= rules.REACH[BASH]
    drawn[:, 5] = (to_foe <= rules.REACH[HEAVY]) * np.float32(0.5) + (to_foe <= rules.REACH[STRIKE]) * np.float32(0.5)
    liked = _LIKED[sketch[:, ARCHETYPE_FROM : ARCHETYPE_FROM + len(_LIKED)].argmax(1)]
    drawn[:, 6] = np.maximum(_ONE - _BAND * np.abs(to_foe - _wide(liked)), _ZERO)
    x, y = (sketch[:, FIELD_FROM + column, None] * np.float32(rules.FIELD) + _CELLS for column in (7, 8))
    off_x, off_y = ((at < 0) | (at > np.float32(rules.FIELD)) for at in (x, y))
    drawn[:, 7] = off_x[:, None, :] | off_y[:, :, None]
    return drawn


def _distance(way: Floats) -> Floats:
    """How far each cell lies from what is `way` (rows, 2) from the learner, (rows, SIDE, SIDE)."""
    dx, dy = _CELLS - way[:, :1], _CELLS - way[:, 1:]
    found: Floats = np.sqrt((dx * dx)[:, None, :] + (dy * dy)[:, :, None])
    return found


def _spot(distance: Floats, brightness: Floats) -> Floats:
    found: Floats = np.maximum(_ONE - _SPOT * distance, _ZERO) * _wide(brightness)
    return found


def _wide(values: Floats) -> Floats:
    return values[:, None, None]
