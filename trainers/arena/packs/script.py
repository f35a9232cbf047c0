"""Scripted packs: the traditional AI as five, whose drill grows with the level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainers.arena.fights import Bools
from trainers.arena.packs.lines import Lines, aimed
from trainers.arena.packs.rules import (
    ASSIST,
    CHALLENGE,
    COOLED,
    GUARD,
    NEAREST,
    POWER,
    PRESS,
    STILL,
    TEND,
    TEND_MANA,
    WEAKEST,
)
from trainers.arena.packs.state import HEALTH, MANA, WINDUP, Packs
from trainers.arena.rules import CARE_REACH, Floats, Ints

DRAWS: Final = 4
"""Uniforms per fighter and tick."""


@dataclass(frozen=True)
class Drill:
    """How a scripted pack plays. Chances are per fighter and tick in which it could do the thing."""

    reaction: float  # to answer a heavy blow that is about to land with the guard
    dither: float  # to do nothing
    focus: float  # to join the others instead of taking the nearest, whenever it picks somebody anew
    restless: float = 0.12  # to pick somebody anew
    power: float = 0.5
    challenge: float = 0.05
    tend: float = 0.5  # where a mate is below half of its health; only those who heal well


def drill(level: int) -> Drill:
    """The scripted pack's at a level from 1 to 5."""
    at = level - 1
    return Drill((0.1, 0.2, 0.3, 0.45, 0.6)[at], (0.3, 0.2, 0.12, 0.06, 0.0)[at], (0.0, 0.1, 0.2, 0.35, 0.5)[at])


def orders(f: Packs, lines: Lines, side: int, how: Drill, u: Floats) -> Ints:
    """What each of a side's fighters is told, (pack, n); `u` are uniforms (DRAWS, pack, n).

    Later lines override earlier ones: the least urgent comes first.
    """
    told = np.full(f.aim.shape[1:], PRESS, np.int64)
    anew = u[0] < np.float32(how.restless)
    joins = u[1] < np.float32(how.focus)
    np.copyto(told, NEAREST, where=anew & ~joins)
    np.copyto(told, ASSIST, where=anew & joins)
    np.copyto(told, WEAKEST, where=anew & (u[1] < np.float32(how.focus / 3)))
    cool = f.cooling[:, side] <= 0
    np.copyto(told, POWER, where=~anew & cool[COOLED.index(POWER)] & (u[2] < np.float32(how.power)))
    np.copyto(told, CHALLENGE, where=cool[COOLED.index(CHALLENGE)] & (u[2] >= np.float32(1 - how.challenge)))
    np.copyto(told, TEND, where=_can_help(f, lines, side) & (u[3] < np.float32(how.tend)))
    np.copyto(told, GUARD, where=_threatened(f, side) & (u[3] >= np.float32(1 - how.reaction)))
    np.copyto(told, STILL, where=u[0] >= np.float32(1 - how.dither))
    return told


def _can_help(f: Packs, lines: Lines, side: int) -> Bools:
    health = f.body[HEALTH, side]
    needy = (health > 0) & (health < np.float32(0.5) * f.arms.health[side])
    near = (needy[None] & (lines.mates[side] <= np.float32(CARE_REACH))).any(1)
    able = (f.cooling[COOLED.index(TEND), side] <= 0) & (f.body[MANA, side] >= np.float32(TEND_MANA))
    skilled = f.arms.heal[side] >= np.float32(20)
    found: Bools = near & able & skilled
    return found


def _threatened(f: Packs, side: int) -> Bools:
    """A heavy blow of somebody who is after the fighter goes off in this tick."""
    windup = f.body[WINDUP, 1 - side]
    due = (windup > 0) & (windup <= 1)
    after = aimed(f.aim)[1 - side] > 0
    threatened: Bools = (after & due[:, None]).any(0) & (f.cooling[COOLED.index(GUARD), side] <= 0)
    return threatened
