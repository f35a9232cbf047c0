"""What each fighter does in a tick: wishes checked, paid for, and wound up where they must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import BUFFED, GUARD, HEALTH, MANA, STUN, WINDUP, Fights
from trainers.arena.geometry import Geometry
from trainers.arena.rules import (
    APPROACH,
    BLOCK,
    STILL,
    WAIT,
    Ints,
)

_ZERO = np.float32(0)
_ONE = np.float32(1)


@dataclass(frozen=True)
class Orders:
    """What each fighter does this tick, shape (fighters, n): `action` as begun, `fired` as it takes effect."""

    action: Ints
    fired: Ints


def commit(f: Fights, chosen: Ints, geometry: Geometry) -> Orders:
    """Turn wishes into orders: refuse what cannot be done, pay for the rest, begin and finish wind-ups."""
    mana, windup, stun, buffed = f.body[MANA], f.body[WINDUP], f.body[STUN], f.body[BUFFED]
    n = f.tick.shape[0]
    dec = f.active.astype(np.float32)
    winding = windup > 0
    free = (stun <= 0) & ~winding & (f.body[HEALTH] > 0) & f.active
    action = np.where(free, chosen, STILL)
    cell = (action + f.sides.rows) * n + np.arange(n)
    able = (mana >= rules.MANA_COST.take(action)) & (f.ready.reshape(-1).take(cell) <= f.tick)
    action = np.where(able | ~free, action, WAIT)
    action = np.where(geometry.distance > rules.REACH.take(action), APPROACH, action)

    cell = (action + f.sides.rows) * n + np.arange(n)
    f.ready.reshape(-1)[cell] = f.tick + rules.COOLDOWN.take(action)
    mana += f.sides.gain.take(action + f.sides.rows) * dec - rules.MANA_COST.take(action)
    np.minimum(mana, f.sides.mana, out=mana)

    needed = rules.WINDUP.take(action)
    begins = needed > 0
    goes_off = winding & (windup <= 1) & f.active
    fired = np.where(goes_off, f.readied, np.where(begins, STILL, action))
    np.copyto(f.readied, action, where=begins)
    windup -= dec
    np.maximum(windup, needed, out=windup)
    for timer in (stun, buffed):
        timer -= dec
        np.maximum(timer, _ZERO, out=timer)
    np.copyto(f.body[GUARD], np.float32(rules.GUARD_TICKS), where=fired == BLOCK)
    return Orders(action, fired)
