"""What each member sees: 64 numbers, most of them in [-1, 1]; and what the critic sees of a whole fight.

| columns | what |
|---|---|
| 0-8 | oneself: health, mana, wind-up, stun, buff, guard; whether power, tend and challenge are out of the question |
| 9-24 | four mates, the next ones in the pack's order: health, direction in two numbers, foes that are after it |
| 25-59 | five foes: health, direction, wind-up less stun, whether it is after me, mates after it (and me), its guard |
| 60-63 | whether the guard is out of the question, ticks left, place in the pack, room to the nearest wall |

An order is out of the question while it cools (its ticks left as a share; at least a tenth), cannot be paid for or has
nobody to be done to. The columns `BARS` let a network leave such orders out.

Who is not there, in a pack of less than five, and what a fallen member would see, is 0. By its place in the pack a
member tells itself from mates who see much the same: with weights in common they would all do the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainers.arena.packs.acting import within_reach
from trainers.arena.packs.aiming import menace
from trainers.arena.packs.lines import FAR, Lines, added, aimed, at_target
from trainers.arena.packs.rules import (
    CHALLENGE,
    COOLDOWN,
    COOLED,
    GUARD,
    LARGEST_PACK,
    OURS,
    POWER,
    TEND,
    THEIRS,
    TICK_LIMIT,
)
from trainers.arena.packs.state import BUFFED, GUARDED, HEALTH, MANA, STUN, WINDUP, Packs, X, Y
from trainers.arena.rules import BUFF_TICKS, FIELD, GUARD_TICKS, STAGGER_STUN, Floats, Ints

WIDTH: Final = 64
OWN: Final = 9
MATE: Final = 4
FOE: Final = 7
MATES_FROM: Final = OWN
FOES_FROM: Final = MATES_FROM + (LARGEST_PACK - 1) * MATE
SITUATION_FROM: Final = FOES_FROM + LARGEST_PACK * FOE
BARS: Final = {POWER: 6, TEND: 7, CHALLENGE: 8, GUARD: SITUATION_FROM}
"""By order: the column that is above 0 while it is out of the question."""

FIGHTER: Final = 8
JOINT_WIDTH: Final = 2 * LARGEST_PACK * FIGHTER + 2

_BY_DISTANCE = np.float32(1 / 12)
_ZERO = np.float32(0)


class Observer:
    """Writes observations; keeps scratch arrays, so it serves one arena."""

    def __init__(self, pack_size: int, n: int) -> None:
        self._size = pack_size
        self._columns = np.zeros((WIDTH, pack_size, n), np.float32)
        self._joint = np.zeros((FIGHTER, 2, LARGEST_PACK, n), np.float32)
        self._whole = np.zeros((JOINT_WIDTH, n), np.float32)
        self._mate: Ints = (np.arange(pack_size)[:, None] + np.arange(1, pack_size)) % pack_size

    def look(self, f: Packs, lines: Lines) -> Floats:
        """What each member sees, a new array of shape (n, pack, 64)."""
        o = self._columns
        share = np.maximum(f.body[HEALTH] / f.arms.health, _ZERO)
        self._own(o, f, share)
        self._bars(o, f, lines)
        after = aimed(f.aim) * f.standing[:, :, None]
        self._mates(o, f, share, after)
        self._foes(o, f, lines, share, after)
        self._situation(o, f)
        o *= f.standing[OURS]
        return o.transpose(2, 1, 0).copy(order="C")

    def joint(self, f: Packs) -> Floats:
        """The whole fight, for a critic: 8 numbers per fighter, ticks left, lead in health; (n, 82), a new array."""
        fighters, body = self._joint[:, :, : self._size], f.body
        share = np.maximum(body[HEALTH] / f.arms.health, _ZERO)
        fighters[0] = share
        fighters[1] = body[MANA] / f.arms.mana
        fighters[2] = body[X] * np.float32(1 / FIELD)
        fighters[3] = body[Y] * np.float32(1 / FIELD)
        fighters[4] = body[WINDUP] * np.float32(0.5)
        fighters[5] = body[STUN] * np.float32(1 / STAGGER_STUN)
        fighters[6] = body[BUFFED] * np.float32(1 / BUFF_TICKS)
        fighters[7] = body[GUARDED] * np.float32(1 / GUARD_TICKS)
        fighters *= f.standing
        self._whole[:-2] = self._joint.reshape(JOINT_WIDTH - 2, -1)
        self._whole[-2] = 1 - f.tick * np.float32(1 / TICK_LIMIT)
        self._whole[-1] = _lead(share)
        return self._whole.T.copy(order="C")

    @staticmethod
    def _own(o: Floats, f: Packs, share: Floats) -> None:
        body = f.body[:, OURS]
        o[0] = share[OURS]
        np.divide(body[MANA], f.arms.mana[OURS], out=o[1])
        np.multiply(body[WINDUP], np.float32(0.5), out=o[2])
        np.multiply(body[STUN], np.float32(1 / STAGGER_STUN), out=o[3])
        np.multiply(body[BUFFED], np.float32(1 / BUFF_TICKS), out=o[4])
        np.multiply(body[GUARDED], np.float32(1 / GUARD_TICKS), out=o[5])

    @staticmethod
    def _bars(o: Floats, f: Packs, lines: Lines) -> None:
        seen = np.where(f.standing[::-1, None], lines.distance, FAR)
        near = at_target(lines.distance, f.aim), at_target(lines.distance, menace(f, seen))
        for number, (order, can) in enumerate(zip(COOLED, within_reach(f, *near, lines), strict=True)):
            left = f.cooling[number, OURS] * np.float32(1 / COOLDOWN[order])
            o[BARS[order]] = np.where(can[OURS], _ZERO, np.maximum(left, np.float32(0.1)))

    def _mates(self, o: Floats, f: Packs, share: Floats, after: Floats) -> None:
        danger = added(after[THEIRS]) * np.float32(1 / LARGEST_PACK)
        x, y = f.body[X, OURS], f.body[Y, OURS]
        up = f.standing[OURS]
        for k in range(self._size - 1):
            mate, column = self._mate[:, k], MATES_FROM + k * MATE
            o[column] = share[OURS][mate]
            o[column + 1] = (x[mate] - x) * _BY_DISTANCE * up[mate]
            o[column + 2] = (y[mate] - y) * _BY_DISTANCE * up[mate]
            o[column + 3] = danger[mate]

    def _foes(self, o: Floats, f: Packs, lines: Lines, share: Floats, after: Floats) -> None:
        wanted = added(after[OURS]) * np.float32(1 / LARGEST_PACK)
        body, up = f.body[:, THEIRS], f.standing[THEIRS]
        wound = body[WINDUP] * np.float32(0.5) - body[STUN] * np.float32(1 / STAGGER_STUN)
        guard = body[GUARDED] * np.float32(1 / GUARD_TICKS)
        for foe in range(self._size):
            column = FOES_FROM + foe * FOE
            o[column] = share[THEIRS, foe]
            o[column + 1] = lines.dx[OURS][:, foe] * _BY_DISTANCE * up[foe]
            o[column + 2] = lines.dy[OURS][:, foe] * _BY_DISTANCE * up[foe]
            o[column + 3] = wound[foe] * up[foe]
            o[column + 4] = after[THEIRS, foe]
            o[column + 5] = wanted[foe] + after[OURS][:, foe]
            o[column + 6] = guard[foe] * up[foe]

    @staticmethod
    def _situation(o: Floats, f: Packs) -> None:
        o[SITUATION_FROM + 1] = 1 - f.tick * np.float32(1 / TICK_LIMIT)
        o[SITUATION_FROM + 2] = np.arange(1, len(o[0]) + 1, dtype=np.float32)[:, None] * np.float32(1 / LARGEST_PACK)
        x, y = f.body[X, OURS] * np.float32(1 / FIELD), f.body[Y, OURS] * np.float32(1 / FIELD)
        o[SITUATION_FROM + 3] = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))


def _lead(share: Floats) -> Floats:
    sums = added(share.swapaxes(0, 1))
    lead: Floats = (sums[OURS] - sums[THEIRS]) * np.float32(1 / LARGEST_PACK)
    return lead
