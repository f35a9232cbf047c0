"""One tick of many fights: orders in, blows, care and steps out, and what happened as `Events`.

Everything happens at once: orders are checked and paid, what was wound up goes off, damage is dealt, wounds are
tended, the foe picks whom to mind, all take a step. Only operations that IEEE 754 rounds exactly are used, so that a
fight's numbers do not depend on the batch it is computed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import BUFFED, GUARD, HEALTH, MANA, STUN, WINDUP, Bools, Fights, X, Y
from trainers.arena.rewards import Events
from trainers.arena.rules import (
    ALLY,
    APPROACH,
    BASH,
    BLOCK,
    BUFF,
    DASH,
    FOE,
    HEAL,
    HEAVY,
    LEARNER,
    SPELL,
    STILL,
    WAIT,
    Floats,
    Ints,
)

_ZERO = np.float32(0)
_ONE = np.float32(1)


@dataclass(frozen=True)
class Geometry:
    """Lines from each fighter to its target: the learner's side minds the foe, the foe the one it has turned to."""

    dx: Floats  # (fighters, n)
    dy: Floats
    distance: Floats  # (fighters, n), never 0
    learner_foe: Floats  # (n,)
    learner_ally: Floats  # (n,); of no meaning without an ally


def measure(f: Fights) -> Geometry:
    """Who stands how far from whom, at the start of a tick."""
    x, y = f.body[X], f.body[Y]
    dx, dy = x[FOE] - x, y[FOE] - y
    learner_ally = dx[LEARNER]
    dx[FOE], dy[FOE] = -dx[LEARNER], -dy[LEARNER]
    if f.sides.allied:
        ax, ay = x[ALLY] - x[LEARNER], y[ALLY] - y[LEARNER]
        learner_ally = np.sqrt(ax * ax + ay * ay)
        dx[FOE] = np.where(f.aim, -dx[ALLY], dx[FOE])
        dy[FOE] = np.where(f.aim, -dy[ALLY], dy[FOE])
    distance = np.sqrt(dx * dx + dy * dy)
    np.maximum(distance, np.float32(0.01), out=distance)
    return Geometry(dx, dy, distance, distance[LEARNER], learner_ally)


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


@dataclass(frozen=True)
class Blows:
    """Damage of one tick in health points, shape (n,), and what the guards did."""

    to_foe: Floats  # by the learner, ripostes included
    by_spell: Floats
    by_ally: Floats
    to_learner: Floats
    to_ally: Floats
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
    return Blows(to_foe, by_spell, by_ally, to_learner, to_ally, blocked, absorbed, caught)


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


def walk(f: Fights, orders: Orders, geometry: Geometry) -> Floats:
    """Steps toward or away from the target; how far the learner drew away, shape (n,)."""
    code = orders.action + f.sides.rows
    pace = f.sides.pace.take(code)
    want = geometry.distance - f.sides.goal.take(code)
    np.minimum(want, pace, out=want)
    np.maximum(want, -pace, out=want)
    drawn: Floats = -want[LEARNER]
    want /= geometry.distance
    for axis, line in ((f.body[X], geometry.dx), (f.body[Y], geometry.dy)):
        axis += want * line
        np.maximum(axis, _ZERO, out=axis)
        np.minimum(axis, np.float32(rules.FIELD), out=axis)
    return drawn


def play_tick(f: Fights, chosen: Ints, geometry: Geometry, noise: Floats) -> tuple[Events, Floats]:
    """Advance every active fight by one tick.

    `chosen` (fighters, n) are the actions wished for, `noise` (fighters, n) uniforms. Returns what happened and the
    score of each fight that ended in this tick (1, 0.5, 0), -1 elsewhere. Decided fights stand still.
    """
    standing = f.body[HEALTH] > 0
    orders = commit(f, chosen, geometry)
    blows = strike(f, orders, geometry, noise)
    care = tend(f, orders, geometry)
    turned = mind(f, orders, blows, care)
    drawn = walk(f, orders, geometry)
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
