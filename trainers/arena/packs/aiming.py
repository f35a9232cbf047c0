"""Whom everyone goes after."""

from __future__ import annotations

import numpy as np

from trainers.arena.fights import Bools
from trainers.arena.packs.lines import FAR, Lines, added, aimed, of_target
from trainers.arena.packs.rules import ASSIST, CHALLENGE, NEAREST, WEAKEST
from trainers.arena.packs.state import HEALTH, HELD, WINDUP, Packs
from trainers.arena.rules import Floats, Ints

_PER_MATE = np.float32(4096)  # above any health: a mate more counts for more than all of a foe's health
_ASIDE = np.float32(100)  # wider than the field


def take_aim(f: Packs, orders: Ints, lines: Lines) -> None:
    """Turn every fighter to the one its order names; a challenged one sees nobody but the challenger.

    What is being wound up stays pointed where it was. Who is after a fallen one turns to the nearest that stands.
    """
    up = f.standing
    seen = np.where(up[::-1, None], lines.distance, FAR)
    nearest = seen.argmin(2)
    stale = ~of_target(up, f.aim)
    bound: Bools = (f.body[HELD] > 0) | (f.body[WINDUP] > 0)
    health = np.where(up, f.body[HEALTH], FAR)
    chosen = np.where(orders == NEAREST, nearest, f.aim)
    weakest = health.argmin(1)[::-1, None]
    np.copyto(chosen, weakest, where=orders == WEAKEST)
    np.copyto(chosen, _most_wanted(f, health)[:, None], where=orders == ASSIST)
    np.copyto(chosen, menace(f, seen), where=orders == CHALLENGE)
    np.copyto(f.aim, chosen, where=~bound & f.active)
    np.copyto(f.aim, nearest, where=stale & f.active)


def _most_wanted(f: Packs, health: Floats) -> Ints:
    """The one of the other pack that most are after, the weakest among equals; (2, n)."""
    wanted = aimed(f.aim) * f.standing[:, :, None]
    count = added(wanted.swapaxes(0, 1))  # (2, pack, n): how many are after each of the others
    rank: Ints = (count * _PER_MATE - health[::-1]).argmax(1)
    return rank


def menace(f: Packs, seen: Floats) -> Ints:
    """For each fighter the nearest of those who are after its weakest mate, else the nearest; (2, pack, n)."""
    share = np.where(f.standing, f.body[HEALTH] / f.arms.health, FAR)
    weakest = share.argmin(1)  # (2, n)
    after = f.aim[::-1] == weakest[:, None]  # (2, pack, n): the others
    found: Ints = np.where(after[:, None], seen, seen + _ASIDE).argmin(2)
    return found
