"""What each fighter does in a tick: orders checked, paid for, and wound up where they must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena.fights import Bools
from trainers.arena.packs.lines import Lines, at_target
from trainers.arena.packs.rules import (
    APPROACH,
    ASSIST,
    CHALLENGE,
    CHALLENGE_REACH,
    COOLDOWN,
    COOLED,
    GUARD,
    POWER,
    PRESS,
    REGROUP,
    RETREAT,
    SPELL_MANA,
    STILL,
    TEND,
    TEND_MANA,
    WINDUP_TICKS,
)
from trainers.arena.packs.state import BUFFED, GUARDED, HEALTH, HELD, MANA, STUN, WINDUP, Packs
from trainers.arena.rules import CARE_REACH, GUARD_TICKS, Floats, Ints

_ZERO = np.float32(0)
_HURT = np.float32(0.95)


@dataclass(frozen=True)
class Acts:
    """What each does this tick, shape (2, pack, n): `act` as begun, `fired` as it takes effect."""

    act: Ints
    fired: Ints
    spent: Floats  # mana


def commit(f: Packs, orders: Ints, lines: Lines) -> Acts:
    """Turn orders into acts: what is not ready becomes a strike, a strike out of reach a way there."""
    mana, windup, stun = f.body[MANA], f.body[WINDUP], f.body[STUN]
    arms, up = f.arms, f.standing
    ticking = f.active.astype(np.float32)
    winding = windup > 0
    free = up & f.active & (stun <= 0) & ~winding
    act = np.where(orders <= ASSIST, PRESS, orders)
    distance = at_target(lines.distance, f.aim)
    ready = within_reach(f, distance, distance, lines)
    for number, order in enumerate(COOLED):
        np.copyto(act, PRESS, where=(orders == order) & ~ready[number])
    np.copyto(act, APPROACH, where=(act == PRESS) & (distance > arms.strike_reach))
    np.copyto(act, STILL, where=~free)

    f.cooling -= ticking
    np.maximum(f.cooling, _ZERO, out=f.cooling)
    for number, order in enumerate(COOLED):
        np.copyto(f.cooling[number], np.float32(COOLDOWN[order]), where=act == order)
    begins = act == POWER
    spent = begins * (arms.spells * np.float32(SPELL_MANA)) + (act == TEND) * np.float32(TEND_MANA)
    resting = (act == RETREAT) | (act == REGROUP)
    mana += arms.rest * np.where(resting, np.float32(1), np.float32(0.5)) * (ticking * up) - spent
    np.minimum(mana, arms.mana, out=mana)

    goes_off = winding & (windup <= 1) & f.active
    fired = np.where(goes_off, POWER, np.where(begins, STILL, act))
    windup -= ticking
    np.maximum(windup, begins * np.float32(WINDUP_TICKS), out=windup)
    for timer in (stun, f.body[BUFFED], f.body[HELD]):
        timer -= ticking
        np.maximum(timer, _ZERO, out=timer)
    np.copyto(f.body[GUARDED], np.float32(GUARD_TICKS), where=fired == GUARD)
    return Acts(act, fired, spent)


def within_reach(f: Packs, distance: Floats, challenged: Floats, lines: Lines) -> list[Bools]:
    """Whether each could begin each of COOLED now: cooled, paid for, and with something to do it to.

    `distance` (2, pack, n) is to the one a fighter is after, `challenged` to the one it would challenge.
    """
    cool = f.cooling <= 0
    mana, arms = f.body[MANA], f.arms
    return [
        cool[COOLED.index(POWER)] & (distance <= arms.power_reach) & (mana >= arms.spells * np.float32(SPELL_MANA)),
        cool[COOLED.index(GUARD)],
        cool[COOLED.index(TEND)] & (mana >= np.float32(TEND_MANA)) & _someone_hurt(f, lines),
        cool[COOLED.index(CHALLENGE)] & (challenged <= np.float32(CHALLENGE_REACH)),
    ]


def _someone_hurt(f: Packs, lines: Lines) -> Bools:
    hurt = (f.body[HEALTH] < _HURT * f.arms.health) & f.standing
    near: Bools = (hurt[:, None] & (lines.mates <= np.float32(CARE_REACH))).any(2)
    return near
