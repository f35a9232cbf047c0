"""A scripted learner: what it would do in each fight, as a function of the fights' state alone.

It fights where a model only steers, and it is the policy that a look-ahead plays after the choice in question. Like the
traditional AI it knows all that the observation shows; unlike it, it never rolls dice.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import BUFFED, GUARD, HEALTH, MANA, STUN, WINDUP, Bools, Fights
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

HURT: Final = 0.45
"""Below this share of its health a fighter is worth a heal."""

SURE_TICKS: Final = 2.0
"""A heavy blow is begun only against one who cannot guard when it lands."""

COMPASS: Final[Floats] = np.array(
    [(0, 0), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)], np.float32
).T / np.array([1, 1, 2, 1, 2, 1, 2, 1, 2], np.float32) ** np.float32(0.5)
"""Steps of length 1 by direction, (2, 9): 0 stays, then clockwise from north, where y grows."""


def fight(f: Fights, geometry: Geometry) -> Ints:
    """The learner's combat action in every fight, shape (n,). Later lines override earlier ones."""
    action = attack(f, geometry)
    tended = care(f, geometry)
    np.copyto(action, tended, where=tended != WAIT)
    answer = guard(f, geometry)
    np.copyto(action, answer, where=answer != WAIT)
    return action


def attack(f: Fights, geometry: Geometry) -> Ints:
    """The blow that promises most, WAIT where none would land."""
    can, distance = possible(f), geometry.learner_foe
    power = f.sides.power[: rules.CODES]
    action = light_attack(f, geometry)
    reached = distance <= rules.REACH[HEAVY]
    _set(action, HEAVY, can[HEAVY] & reached & _open(f) & (power[HEAVY] > 2 * power[STRIKE]))
    # A spell takes three ticks: it has to be worth three of the light blows.
    worth = power[SPELL] > np.where(distance <= rules.REACH[STRIKE], 3 * power[STRIKE], 1.5 * power[SHOT])
    _set(action, SPELL, can[SPELL] & (distance <= rules.REACH[SPELL]) & worth)
    _set(action, BASH, can[BASH] & reached & (f.body[GUARD, FOE] <= 0) & _worth_a_bash(f))
    return action


def light_attack(f: Fights, geometry: Geometry) -> Ints:
    """A shot or a strike, whichever is possible; WAIT where neither is."""
    distance = geometry.learner_foe
    action = np.where(distance <= rules.REACH[STRIKE], STRIKE, WAIT)
    _set(action, SHOT, possible(f)[SHOT] & (distance <= rules.REACH[SHOT]))
    return action


def care(f: Fights, geometry: Geometry) -> Ints:
    """A heal for one in need, else a buff before blows are exchanged, else WAIT."""
    can, health, full = possible(f), f.body[HEALTH], f.sides.health
    needy = health[LEARNER] < np.float32(HURT) * full[LEARNER]
    if f.sides.allied:
        near = (geometry.learner_ally <= np.float32(rules.CARE_REACH)) & (health[ALLY] > 0)
        needy |= near & (health[ALLY] < np.float32(HURT) * full[ALLY])
    action = np.full(f.tick.shape, WAIT, np.int64)
    engaged = geometry.learner_foe <= rules.REACH[SHOT]
    _set(action, BUFF, can[BUFF] & engaged & (f.body[BUFFED, LEARNER] <= 0))
    _set(action, HEAL, can[HEAL] & needy)
    return action


def guard(f: Fights, geometry: Geometry) -> Ints:
    """BLOCK or DASH where a wound-up blow of the foe is about to land on the learner or one it covers, else WAIT."""
    can = possible(f)
    due = (f.body[WINDUP, FOE] > 0) & (f.body[WINDUP, FOE] <= 1)
    readied = f.readied[FOE]
    due &= (readied == HEAVY) | (readied == SPELL)
    due &= geometry.distance[FOE] <= rules.REACH.take(readied) + np.float32(rules.REACH_SLACK)
    action = np.full(f.tick.shape, WAIT, np.int64)
    mine = due & ~f.aim
    _set(action, DASH, mine & can[DASH])
    covered = f.aim & (geometry.learner_ally <= np.float32(rules.COVER_REACH)) if f.sides.allied else f.aim
    # A guard leaves the owner of a heavy blow stunned, but lets half of a spell through.
    _set(action, BLOCK, can[BLOCK] & ((mine & ((readied == HEAVY) | ~can[DASH])) | (due & covered)))
    return action


def steer(f: Fights, geometry: Geometry) -> Ints:
    """The direction (see COMPASS) toward the foe until the archetype's favourite distance is reached, then 0; (n,)."""
    toward = COMPASS[0, 1:, None] * geometry.dx[LEARNER] + COMPASS[1, 1:, None] * geometry.dy[LEARNER]
    fighter = f.sides.learner
    there = geometry.learner_foe <= np.float32(fighter.distance + fighter.speed / 2)
    return np.where(there, 0, 1 + toward.argmax(0))


def possible(f: Fights) -> Bools:
    """Which actions the learner could pay for and has ready, (12, n)."""
    found: Bools = (f.ready[LEARNER] <= f.tick) & (f.body[MANA, LEARNER] >= rules.MANA_COST[:, None])
    return found


def _open(f: Fights) -> Bools:
    """The foe cannot guard in the tick in which a blow begun now lands."""
    lands = f.tick + np.float32(SURE_TICKS)
    sure: Bools = (f.ready[FOE, BLOCK] > lands) | (f.body[STUN, FOE] > np.float32(SURE_TICKS))
    return sure


def _worth_a_bash(f: Fights) -> Bools:
    """It breaks a wind-up that will not go off before, or calls the foe away from the ally."""
    breaks: Bools = f.body[WINDUP, FOE] > 0
    return breaks | f.aim if f.sides.allied else breaks


def _set(action: Ints, value: int, where: Bools) -> None:
    np.copyto(action, value, where=where)
