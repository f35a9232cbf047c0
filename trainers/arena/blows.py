"""Who is hit by what, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import BUFFED, GUARD, HEALTH, STUN, WINDUP, Bools, Fights
from trainers.arena.geometry import Geometry
from trainers.arena.orders import Orders
from trainers.arena.rules import (
    ALLY,
    BASH,
    DASH,
    FOE,
    HEAVY,
    LEARNER,
    SPELL,
    Floats,
    Ints,
)

_ZERO = np.float32(0)
_ONE = np.float32(1)


@dataclass(frozen=True)
class Blows:
    """Damage of one tick in health points, shape (n,), and what the guards did."""

    to_foe: Floats  # by the learner, ripostes included
    by_spell: Floats
    by_ally: Floats
    to_learner: Floats
    blocked: Floats
    absorbed: Floats
    caught: Floats  # 1 where the learner's guard caught a blow at the ally


def strike(f: Fights, orders: Orders, geometry: Geometry, noise: Floats) -> Blows:
    """Who is hit by what; sets stuns, breaks wind-ups, takes the health off."""
    fired, sides = orders.fired, f.sides
    guarded, stunned = f.body[GUARD] > 0, f.body[STUN] > 0
    evading = fired == DASH
    power = sides.power.take(fired + sides.rows)
    lands = (power > 0) & (geometry.distance <= rules.REACH.take(fired) + np.float32(rules.REACH_SLACK))
    power *= (1 - rules.NOISE / 2) + np.float32(rules.NOISE) * noise
    power *= 1 + np.float32(rules.BUFF_FACTOR - 1) * (f.body[BUFFED] > 0)
    power *= lands
    if f.edge is not None:
        power[LEARNER] *= np.take_along_axis(f.edge, fired[LEARNER][None], 0)[0]
    # What is left of a blow for each fighter that may be its target, before a guard.
    open_to = np.where(evading, _ZERO, np.where(stunned, np.float32(rules.STUNNED_FACTOR), _ONE)) / sides.armour
    through = np.where(fired == SPELL, np.float32(rules.GUARD_MAGIC), np.float32(rules.GUARD_PHYSICAL))

    foe_guard = guarded[FOE]
    share = open_to[FOE] * np.where(foe_guard, through, _ONE)
    dealt = power * share
    struck = power[FOE]
    aimed, caught = struck, np.zeros_like(struck)
    to_ally = by_ally = caught
    if sides.allied:
        by_ally = dealt[ALLY]
        cover = f.aim & guarded[LEARNER] & (geometry.learner_ally <= np.float32(rules.COVER_REACH))
        at_learner = ~f.aim | cover
        aimed = struck * at_learner
        caught = (cover & (struck > 0)).astype(np.float32)
        to_ally = (struck - aimed) * open_to[ALLY]
    met = aimed * open_to[LEARNER]
    to_learner = met * np.where(guarded[LEARNER], through[FOE], _ONE)
    blocked = met - to_learner
    physical_block = blocked * (fired[FOE] != SPELL)
    to_foe = dealt[LEARNER] + np.float32(sides.learner.riposte) * physical_block
    _unbalance(f, fired, dealt[LEARNER] > 0, to_learner > 0, to_ally > 0)

    health = f.body[HEALTH]
    health[LEARNER] -= to_learner
    health[FOE] -= to_foe + by_ally
    if sides.allied:
        health[ALLY] -= to_ally
    by_spell = dealt[LEARNER] * (fired[LEARNER] == SPELL)
    absorbed = np.where(open_to[LEARNER] > 0, aimed - to_learner, _ZERO)
    return Blows(to_foe, by_spell, by_ally, to_learner, blocked, absorbed, caught)


def _unbalance(f: Fights, fired: Ints, foe_hit: Bools, learner_hit: Bools, ally_hit: Bools) -> None:
    """Stuns: a bash past the guard stuns its target and breaks its wind-up, a heavy blow on a guard its owner."""
    stun, windup, guarded = f.body[STUN], f.body[WINDUP], f.body[GUARD] > 0
    bash, heavy = fired == BASH, fired == HEAVY
    bashed_foe = bash[LEARNER] & foe_hit & ~guarded[FOE]
    bashed_learner = bash[FOE] & learner_hit & ~guarded[LEARNER]
    stuns = [(FOE, bashed_foe), (LEARNER, bashed_learner)]
    if f.sides.allied:
        stuns.append((ALLY, bash[FOE] & ally_hit))
    for who, bashed in stuns:
        np.copyto(stun[who], np.float32(rules.BASH_STUN), where=bashed)
        np.copyto(windup[who], _ZERO, where=bashed)
    stagger = np.float32(rules.STAGGER_STUN)
    np.copyto(stun[LEARNER], stagger, where=heavy[LEARNER] & foe_hit & guarded[FOE])
    np.copyto(stun[FOE], stagger, where=heavy[FOE] & learner_hit & guarded[LEARNER])
