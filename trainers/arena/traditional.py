"""The traditional AI: a scripted fighter whose skill grows with the level, and the learner's scripted companion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import HEALTH, MANA, WINDUP, Bools, Fights
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
    WAIT,
    Floats,
    Ints,
)

DRAWS = 5
"""Uniforms that the scripts use per tick."""


@dataclass(frozen=True)
class Temper:
    """How the traditional AI plays. Chances are per tick in which it could do the thing."""

    reaction: float  # chance to answer a blow that is about to land with a guard or a leap
    dither: float  # chance to do nothing
    heavy: float = 0.5  # chance of a heavy blow where one is possible
    spell: float = 0.3
    bash: float = 0.25
    shot: float = 0.35


def choose(f: Fights, geometry: Geometry, temper: Temper, u: Floats) -> tuple[Ints, Ints | None]:
    """The actions of foe and ally, shape (n,) each; no ally, no action. `u` are DRAWS uniforms per fight, (5, n)."""
    foe = _foe(f, geometry, temper, u)
    return foe, _ally(geometry, u[4]) if f.sides.allied else None


def _foe(f: Fights, geometry: Geometry, temper: Temper, u: Floats) -> Ints:
    """Later lines override earlier ones: the least urgent comes first."""
    ready = f.ready[FOE] <= f.tick
    mana, distance = f.body[MANA, FOE], geometry.distance[FOE]
    close = distance <= rules.REACH[HEAVY]
    able = mana >= rules.MANA_COST[:, None]
    action = np.where(distance <= rules.REACH[STRIKE], STRIKE, WAIT)
    _set(action, SHOT, ready[SHOT] & ~close & (u[0] < np.float32(temper.shot)))
    far_enough = (distance > 3) & (distance <= rules.REACH[SPELL])
    _set(action, SPELL, far_enough & ready[SPELL] & able[SPELL] & (u[1] < np.float32(temper.spell)))
    _set(action, BASH, close & ready[BASH] & (u[0] < np.float32(temper.bash)))
    _set(action, HEAVY, close & ready[HEAVY] & (u[1] < np.float32(temper.heavy)))
    _set(action, BUFF, ready[BUFF] & able[BUFF] & (u[2] > np.float32(0.92)))
    hurt = f.body[HEALTH, FOE] < np.float32(0.35) * f.sides.health[FOE]
    _set(action, HEAL, hurt & ready[HEAL] & able[HEAL] & (u[2] < np.float32(0.3)))
    _set(action, WAIT, u[3] < np.float32(temper.dither))
    alert = _threatened(f, geometry) & (u[3] >= np.float32(1 - temper.reaction))
    _set(action, DASH, alert & ready[DASH])
    _set(action, BLOCK, alert & ready[BLOCK])
    return action


def _threatened(f: Fights, geometry: Geometry) -> Bools:
    """The learner's heavy blow or spell goes off in this tick and would reach the foe."""
    due = (f.body[WINDUP, LEARNER] > 0) & (f.body[WINDUP, LEARNER] <= 1)
    readied = f.readied[LEARNER]
    threatened: Bools = due & (geometry.learner_foe <= rules.REACH.take(readied)) & (readied != HEAL)
    return threatened


def _ally(geometry: Geometry, u: Floats) -> Ints:
    """The companion goes for the foe with blows, one in eight of them heavy."""
    near = geometry.distance[ALLY] <= rules.REACH[STRIKE]
    return np.where(near, np.where(u < np.float32(0.125), HEAVY, STRIKE), WAIT)


def _set(action: Ints, value: int, where: Bools) -> None:
    np.copyto(action, value, where=where)
