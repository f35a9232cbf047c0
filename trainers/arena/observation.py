"""What the learner sees: 64 numbers, most of them in [0, 1].

| columns | what |
|---|---|
| 0-16 | the learner: health, mana, wind-up, stun, buff, guard; 8 cooldowns; what it winds up (heavy, spell, heal) |
| 17-33 | the foe, the same |
| 34 | the foe has turned to the ally |
| 35-42 | the ally: there, health, wind-up, stun, buff, its distance to the learner and to the foe, in cover reach |
| 43-52 | the field: distance, reach of strike, heavy, spell, shot; direction to the foe; position; room behind |
| 53-56 | ticks left, learner hit a moment ago, threat lead over the ally, lead in health |
| 57-63 | archetype (one of six), level |
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import BUFFED, GUARD, HEALTH, MANA, STUN, WINDUP, Fights, X, Y
from trainers.arena.geometry import Geometry
from trainers.arena.rules import (
    ALLY,
    BASH,
    BLOCK,
    BUFF,
    DASH,
    FOE,
    HEAL,
    HEAVY,
    LEARNER,
    SHOT,
    SPELL,
    STRIKE,
    Floats,
)
from trainers.arena.stats import ARCHETYPES

WIDTH: Final = 64

COOLING: Final = (HEAVY, SHOT, SPELL, BLOCK, DASH, HEAL, BUFF, BASH)
CHARGED: Final = (HEAVY, SPELL, HEAL)
FIGHTER_COLUMNS: Final = 6 + len(COOLING) + len(CHARGED)
FOE_FROM: Final = FIGHTER_COLUMNS
AIM: Final = 2 * FIGHTER_COLUMNS
ALLY_FROM: Final = AIM + 1
FIELD_FROM: Final = ALLY_FROM + 8
TIME_FROM: Final = FIELD_FROM + 10
ARCHETYPE_FROM: Final = TIME_FROM + 4
LEVEL: Final = ARCHETYPE_FROM + 6

_COOLING = np.array(COOLING)
_CHARGED = np.array(CHARGED)[:, None]
_BY_COOLDOWN = (1 / rules.COOLDOWN[_COOLING])[:, None]
_BY_WINDUP = np.float32(0.5)
_BY_STUN = np.float32(1 / rules.STAGGER_STUN)
_BY_BUFF = np.float32(1 / rules.BUFF_TICKS)
_BY_GUARD = np.float32(1 / rules.GUARD_TICKS)
_BY_DISTANCE = np.float32(0.1)
_ZERO = np.float32(0)


class Observer:
    """Writes observations of one archetype and level; keeps a scratch array, so it serves one arena."""

    def __init__(self, archetype: str, level: int, levels: int, n: int) -> None:
        self._columns = np.zeros((WIDTH, n), np.float32)
        self._columns[ARCHETYPE_FROM + list(ARCHETYPES).index(archetype)] = 1
        self._columns[LEVEL] = level / levels

    def look(self, f: Fights, geometry: Geometry) -> Floats:
        """The observation of every fight, a new array of shape (n, 64)."""
        o = self._columns
        share = f.body[HEALTH] / f.sides.health
        self._fighter(o[:FOE_FROM], f, LEARNER, share)
        self._fighter(o[FOE_FROM:AIM], f, FOE, share)
        if f.sides.allied:
            o[AIM] = f.aim
            self._ally(o[ALLY_FROM:FIELD_FROM], f, geometry, share)
        self._field(o[FIELD_FROM:TIME_FROM], f, geometry)
        self._time(o[TIME_FROM:ARCHETYPE_FROM], f, share)
        return o.T.copy(order="C")  # of one row ascontiguousarray would hand out the scratch array itself

    @staticmethod
    def _fighter(o: Floats, f: Fights, who: int, share: Floats) -> None:
        np.maximum(share[who], _ZERO, out=o[0])
        np.divide(f.body[MANA, who], f.sides.mana[who], out=o[1])
        np.multiply(f.body[WINDUP, who], _BY_WINDUP, out=o[2])
        np.multiply(f.body[STUN, who], _BY_STUN, out=o[3])
        np.multiply(f.body[BUFFED, who], _BY_BUFF, out=o[4])
        np.multiply(f.body[GUARD, who], _BY_GUARD, out=o[5])
        cooling = o[6 : 6 + len(COOLING)]
        np.subtract(f.ready[who, _COOLING], f.tick, out=cooling)
        np.maximum(cooling, _ZERO, out=cooling)
        np.multiply(cooling, _BY_COOLDOWN, out=cooling)
        np.logical_and(f.readied[who] == _CHARGED, f.body[WINDUP, who] > 0, out=o[6 + len(COOLING) :])

    @staticmethod
    def _ally(o: Floats, f: Fights, geometry: Geometry, share: Floats) -> None:
        np.greater(share[ALLY], _ZERO, out=o[0])
        np.maximum(share[ALLY], _ZERO, out=o[1])
        np.multiply(f.body[WINDUP, ALLY], _BY_WINDUP, out=o[2])
        np.multiply(f.body[STUN, ALLY], _BY_STUN, out=o[3])
        np.multiply(f.body[BUFFED, ALLY], _BY_BUFF, out=o[4])
        np.multiply(geometry.learner_ally, _BY_DISTANCE, out=o[5])
        np.multiply(geometry.distance[ALLY], _BY_DISTANCE, out=o[6])
        np.less_equal(geometry.learner_ally, np.float32(rules.COVER_REACH), out=o[7])

    @staticmethod
    def _field(o: Floats, f: Fights, geometry: Geometry) -> None:
        distance = geometry.learner_foe
        np.multiply(distance, _BY_DISTANCE, out=o[0])
        for column, action in enumerate((STRIKE, HEAVY, SPELL, SHOT), start=1):
            np.less_equal(distance, rules.REACH[action], out=o[column])
        np.divide(geometry.dx[LEARNER], distance, out=o[5])
        np.divide(geometry.dy[LEARNER], distance, out=o[6])
        x, y = o[7], o[8]
        np.multiply(f.body[X, LEARNER], np.float32(1 / rules.FIELD), out=x)
        np.multiply(f.body[Y, LEARNER], np.float32(1 / rules.FIELD), out=y)
        # How far from the walls one stands, on the side that is turned away from the foe.
        across = np.where(geometry.dx[LEARNER] > 0, x, 1 - x)
        along = np.where(geometry.dy[LEARNER] > 0, y, 1 - y)
        np.minimum(across, along, out=o[9])

    @staticmethod
    def _time(o: Floats, f: Fights, share: Floats) -> None:
        np.multiply(f.tick, np.float32(-1 / rules.TICK_LIMIT), out=o[0])
        o[0] += 1
        np.less(f.tick - f.last_hit, np.float32(rules.SUSTAINED_TICKS), out=o[1])
        if f.sides.allied:
            np.multiply(f.threat[0] - f.threat[1], np.float32(0.02), out=o[2])
        np.subtract(share[LEARNER], share[FOE], out=o[3])
