"""One tick of many fights: orders in, blows, care and steps out, and what happened as `Events`.

Everything happens at once: orders are checked and paid, what was wound up goes off, damage is dealt, wounds are
tended, the foe picks whom to mind, all take a step. Only operations that IEEE 754 rounds exactly are used, so that a
fight's numbers do not depend on the batch it is computed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena import rules
from trainers.arena.blows import Blows, strike
from trainers.arena.fights import BUFFED, GUARD, HEALTH, WINDUP, Fights, X, Y
from trainers.arena.geometry import Geometry
from trainers.arena.orders import Orders, commit
from trainers.arena.rewards import Events
from trainers.arena.rules import (
    ALLY,
    BASH,
    BUFF,
    FOE,
    HEAL,
    HEAVY,
    LEARNER,
    SPELL,
    Floats,
    Ints,
)

_ZERO = np.float32(0)
_ONE = np.float32(1)


@dataclass(frozen=True)
class Care:
    """Healing and buffs of the learner in one tick, shape (n,)."""

    healed: Floats
    effective: Floats
    buffs: Floats


def tend(f: Fights, orders: Orders, geometry: Geometry) -> Care:
    """Heals and buffs take effect; the dead stay dead. The learner's heal goes to the one in greater need."""
    health, full, buffed = f.body[HEALTH], f.sides.health, f.body[BUFFED]
    heals, buffs = orders.fired == HEAL, orders.fired == BUFF
    gain = np.minimum(f.sides.heal, full - health) * (heals & (health > 0))
    gained = (buffs[LEARNER] & (buffed[LEARNER] <= 0)).astype(np.float32)
    effective = np.zeros_like(gained)
    if f.sides.allied:
        near = (geometry.learner_ally <= np.float32(rules.CARE_REACH)) & (health[ALLY] > 0)
        worse = health[ALLY] * full[LEARNER] < health[LEARNER] * full[ALLY]
        to_ally = heals[LEARNER] & near & worse
        gain[ALLY] = np.minimum(f.sides.heal[LEARNER], full[ALLY] - health[ALLY]) * to_ally
        gain[LEARNER] *= ~to_ally
        effective = gain[ALLY] * (health[ALLY] < np.float32(rules.NEED) * full[ALLY])
        blessed = buffs[LEARNER] & near
        gained += blessed & (buffed[ALLY] <= 0)
        np.copyto(buffed[ALLY], np.float32(rules.BUFF_TICKS), where=blessed)
    np.copyto(buffed, np.float32(rules.BUFF_TICKS), where=buffs)
    health += gain
    given = gain[LEARNER] + gain[ALLY] if f.sides.allied else gain[LEARNER]
    return Care(given, effective, gained)


def mind(f: Fights, orders: Orders, blows: Blows, care: Care) -> Floats:
    """Whom the foe turns to next; 1 where it left the ally for the learner."""
    if not f.sides.allied:
        return np.zeros_like(f.tick)
    taunted = (orders.fired[LEARNER] == BASH) & (blows.to_foe > 0)
    f.threat *= np.where(f.active, np.float32(0.96), _ONE)
    f.threat[0] += blows.to_foe + np.float32(0.5) * care.healed + np.float32(f.sides.learner.taunt) * taunted
    f.threat[1] += blows.by_ally
    learner, ally = f.threat
    turn = np.where(f.aim, ally, learner) * np.float32(1.25) + 3 < np.where(f.aim, learner, ally)
    turn &= f.active & (f.body[WINDUP, FOE] <= 0)
    dead = f.body[HEALTH, ALLY] <= 0
    gained: Floats = (turn & f.aim & ~dead).astype(np.float32)
    f.aim ^= turn
    f.aim &= ~dead
    return gained


def walk(f: Fights, orders: Orders, geometry: Geometry, heading: Floats | None = None) -> Floats:
    """Steps toward or away from the target; how far the learner drew away, shape (n,).

    With a `heading` (2, n), at most of length 1, the learner's step is its own, whatever it does meanwhile: at its
    speed, a leap's length in a leap, none while it winds up or is stunned.
    """
    code = orders.action + f.sides.rows
    pace = f.sides.pace.take(code)
    want = geometry.distance - f.sides.goal.take(code)
    np.minimum(want, pace, out=want)
    np.maximum(want, -pace, out=want)
    drawn: Floats = -want[LEARNER]
    want /= geometry.distance
    stride: Floats | None = None
    if heading is not None:
        stride = heading * f.sides.stride.take(orders.action[LEARNER])
        want[LEARNER] = 0
        drawn = -(stride[0] * geometry.dx[LEARNER] + stride[1] * geometry.dy[LEARNER]) / geometry.learner_foe
    for number, (axis, line) in enumerate(((f.body[X], geometry.dx), (f.body[Y], geometry.dy))):
        axis += want * line
        if stride is not None:
            axis[LEARNER] += stride[number]
        np.maximum(axis, _ZERO, out=axis)
        np.minimum(axis, np.float32(rules.FIELD), out=axis)
    return drawn


def play_tick(
    f: Fights, chosen: Ints, geometry: Geometry, noise: Floats, heading: Floats | None = None
) -> tuple[Events, Floats]:
    """Advance every active fight by one tick.

    `chosen` (fighters, n) are the actions wished for, `noise` (fighters, n) uniforms, `heading` (2, n) is the
    learner's own step, see `walk`. Returns what happened and the score of each fight that ended in this tick (1, 0.5,
    0), -1 elsewhere. Decided fights stand still.
    """
    standing = f.body[HEALTH] > 0
    orders = commit(f, chosen, geometry)
    blows = strike(f, orders, geometry, noise)
    care = tend(f, orders, geometry)
    turned = mind(f, orders, blows, care)
    drawn = walk(f, orders, geometry, heading)
    guard = f.body[GUARD]
    guard -= f.active
    np.maximum(guard, _ZERO, out=guard)
    f.tick += f.active

    health = f.body[HEALTH]
    fallen = (health <= 0) & standing
    score = _score(f)
    ended = score >= 0
    hit = blows.to_foe > 0
    recent = f.tick - f.last_hit <= np.float32(rules.SUSTAINED_TICKS)
    low, high = f.sides.band
    alive = f.active & (health[LEARNER] > 0)
    won = ended & fallen[FOE] & alive
    near = geometry.learner_foe <= rules.REACH[HEAVY] + np.float32(rules.KITING_MARGIN)
    events = Events(
        damage_dealt=blows.to_foe,
        spell_damage=blows.by_spell,
        sustained_damage=blows.to_foe * recent,
        damage_taken=blows.to_learner,
        damage_blocked=blows.blocked,
        damage_absorbed=blows.absorbed,
        allies_protected=blows.caught,
        healing_done=care.healed,
        effective_healing=care.effective,
        buffs_applied=care.buffs,
        mana_on_spells=rules.MANA_COST[SPELL] * (orders.action[LEARNER] == SPELL),
        aggro_count=turned,
        in_band=((geometry.learner_foe >= low) & (geometry.learner_foe <= high) & alive).astype(np.float32),
        kiting=((drawn > 0) & near & recent & alive).astype(np.float32),
        kills=fallen[FOE].astype(np.float32),
        spell_kills=(fallen[FOE] & (blows.by_spell > 0)).astype(np.float32),
        deaths=fallen[LEARNER].astype(np.float32),
        allies_died=fallen[ALLY].astype(np.float32) if f.sides.allied else np.zeros_like(f.tick),
        survived=(ended & alive).astype(np.float32),
        ticks_survived=alive + won * (rules.TICK_LIMIT - f.tick),
    )
    np.copyto(f.last_hit, f.tick, where=hit)
    f.active &= ~ended
    return events, score


def _score(f: Fights) -> Floats:
    """1, 0.5 or 0 for fights that end now, -1 for the others.

    A fight is won when the foe falls, lost when the learner does, drawn when both do. At the tick limit the health
    left decides, as a fraction of what each side began with (the fallen ally counts as nothing).
    """
    health = f.body[HEALTH]
    foe_fell, learner_fell = health[FOE] <= 0, health[LEARNER] <= 0
    shares = np.maximum(health, _ZERO) / f.sides.health
    ours = (shares[LEARNER] + shares[ALLY]) * np.float32(0.5) if f.sides.allied else shares[LEARNER]
    lead = ours - shares[FOE]
    margin = np.float32(rules.JUDGED_LEAD)
    judged = np.where(lead > margin, _ONE, np.where(lead < -margin, _ZERO, np.float32(0.5)))
    fought = np.where(foe_fell & learner_fell, np.float32(0.5), foe_fell.astype(np.float32))
    over = f.tick >= np.float32(rules.TICK_LIMIT)
    score = np.where(foe_fell | learner_fell, fought, np.where(over, judged, np.float32(-1)))
    return np.where(f.active, score, np.float32(-1))
