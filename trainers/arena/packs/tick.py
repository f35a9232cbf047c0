"""One tick of many pack fights: orders in, what happened as `Events` out.

Everything happens at once: aims are taken, orders checked and paid, what was wound up goes off, damage is dealt,
wounds are tended, all take a step. Only operations that IEEE 754 rounds exactly are used, and sums are added in a
fixed order, so that a fight's numbers do not depend on the batch it is computed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import Bools
from trainers.arena.packs.acting import Acts, commit
from trainers.arena.packs.aiming import take_aim
from trainers.arena.packs.blows import Blows, strike
from trainers.arena.packs.lines import FAR, Lines, added, at_target
from trainers.arena.packs.rules import (
    APPROACH,
    JUDGED_LEAD,
    OURS,
    REGROUP,
    RETREAT,
    TEND,
    THEIRS,
    TICK_LIMIT,
)
from trainers.arena.packs.state import BUFFED, GUARDED, HEALTH, Packs, X, Y
from trainers.arena.rewards import Events
from trainers.arena.rules import Floats, Ints

_ZERO = np.float32(0)
_ONE = np.float32(1)


@dataclass(frozen=True)
class Care:
    """What each did for its mates in one tick, shape (2, pack, n)."""

    healed: Floats
    effective: Floats
    buffs: Floats


class Tick(NamedTuple):
    """What one tick brought."""

    events: Events  # of our members, each (pack, n)
    harm: Floats  # (pack, pack, n): health that each foe's blows took off each of our members
    score: Floats  # (n,): of fights that ended in this tick 1, 0.5 or 0, else -1


def play_tick(f: Packs, orders: Ints, lines: Lines, noise: Floats) -> Tick:
    """Advance every active fight by one tick. `orders` (2, pack, n), `noise` (2, pack, n) uniforms."""
    standing = f.standing
    aims = f.aim[THEIRS].copy()
    take_aim(f, orders, lines)
    acts = commit(f, orders, lines)
    blows = strike(f, acts, lines, noise)
    care = tend(f, acts, lines)
    drawn = walk(f, acts, lines)
    guard = f.body[GUARDED]
    guard -= f.active
    np.maximum(guard, _ZERO, out=guard)
    f.tick += f.active
    score = _score(f)
    events = _events(f, acts, blows, care, Before(standing, aims, drawn, lines), score)
    np.copyto(f.last_hit, f.tick, where=events.damage_dealt > 0)
    f.active &= score < 0
    return Tick(events, blows.dealt[THEIRS], score)


def tend(f: Packs, acts: Acts, lines: Lines) -> Care:
    """Each healer in turn heals and strengthens the mate within reach who has the least share of its health."""
    health, buffed, full = f.body[HEALTH], f.body[BUFFED], f.arms.health
    healed, effective, buffs = np.zeros_like(health), np.zeros_like(health), np.zeros_like(health)
    tending = (acts.fired == TEND) & (health > 0)
    slots = np.arange(f.arms.pack_size)[None, :, None]
    for who in np.flatnonzero(tending.any((0, 2))):
        share = health / full
        near = (lines.mates[:, who] <= np.float32(rules.CARE_REACH)) & (health > 0)
        target = np.where(near, share, FAR).argmin(1)[:, None]
        chosen = (slots == target) & tending[:, who, None]
        gain = np.minimum(f.arms.heal[:, who, None], full - health) * chosen
        healed[:, who] = added(gain.swapaxes(0, 1))
        needed = (share < np.float32(rules.NEED)) & (slots != who)
        effective[:, who] = added((gain * needed).swapaxes(0, 1))
        buffs[:, who] = (chosen & (buffed <= 0)).any(1)
        health += gain
        np.copyto(buffed, np.float32(rules.BUFF_TICKS), where=chosen)
    return Care(healed, effective, buffs)


def walk(f: Packs, acts: Acts, lines: Lines) -> Floats:
    """Steps; how far each of our members drew away from its nearest foe, (pack, n)."""
    x, y, act = f.body[X], f.body[Y], acts.act
    up = f.standing
    mark = np.where(up[::-1, None], lines.distance, FAR).argmin(2)
    np.copyto(mark, f.aim, where=act == APPROACH)
    gap, dx, dy = (at_target(values, mark) for values in (lines.distance, lines.dx, lines.dy))
    pace = f.arms.speed * (act == APPROACH) - f.arms.speed * (act == RETREAT)
    np.minimum(pace, np.maximum(gap - 1, _ZERO), out=pace)
    step = pace / gap
    go_x, go_y = step * dx, step * dy
    home = (act == REGROUP) & up
    if home.any():
        back_x, back_y = _to_the_middle(f, up)
        go_x += home * back_x
        go_y += home * back_y
    for axis, go in ((x, go_x), (y, go_y)):
        axis += go
        np.maximum(axis, _ZERO, out=axis)
        np.minimum(axis, np.float32(rules.FIELD), out=axis)
    drawn: Floats = -pace[OURS]
    return drawn


def _to_the_middle(f: Packs, up: Bools) -> tuple[Floats, Floats]:
    """One step to the middle of those of the own pack who stand."""
    count = np.maximum(added(up.swapaxes(0, 1).astype(np.float32)), _ONE)[:, None]
    dx = added((f.body[X] * up).swapaxes(0, 1))[:, None] / count - f.body[X]
    dy = added((f.body[Y] * up).swapaxes(0, 1))[:, None] / count - f.body[Y]
    away = np.sqrt(dx * dx + dy * dy)
    share = np.minimum(f.arms.speed, away) / np.maximum(away, np.float32(0.01))
    return dx * share, dy * share


class Before(NamedTuple):
    """What the tick's events are told against."""

    standing: Bools  # (2, pack, n)
    aims: Ints  # (pack, n): whom each foe was after
    drawn: Floats  # (pack, n)
    lines: Lines


def _events(f: Packs, acts: Acts, blows: Blows, care: Care, before: Before, score: Floats) -> Events:
    up = f.standing
    alive, fell = up[OURS] & (before.standing[OURS]), before.standing & ~up
    dealt = added(blows.dealt[OURS].swapaxes(0, 1)) + blows.returned[OURS]
    recent = f.tick - f.last_hit <= np.float32(rules.SUSTAINED_TICKS)
    nearest: Floats = np.where(before.standing[THEIRS], before.lines.distance[OURS], FAR).min(1)
    low, high = f.arms.band
    killed = ((blows.dealt[OURS] > 0) & fell[THEIRS]).swapaxes(0, 1).astype(np.float32)
    kills = added(killed)
    lost = added(fell[OURS].astype(np.float32))
    fighting = alive & ((score >= 0) | f.active)
    won = np.maximum(score, _ZERO) * alive
    return Events(
        damage_dealt=dealt,
        spell_damage=blows.spell[OURS],
        sustained_damage=dealt * recent,
        damage_taken=blows.taken[OURS],
        damage_blocked=blows.blocked[OURS],
        damage_absorbed=blows.absorbed[OURS],
        allies_protected=blows.caught[OURS],
        healing_done=care.healed[OURS],
        effective_healing=care.effective[OURS],
        buffs_applied=care.buffs[OURS],
        mana_on_spells=acts.spent[OURS] * (acts.act[OURS] != TEND),
        aggro_count=_turned(f, before),
        in_band=((nearest >= low) & (nearest <= high) & fighting).astype(np.float32),
        kiting=((before.drawn > 0) & (nearest <= _KITED) & recent & fighting).astype(np.float32),
        kills=kills,
        spell_kills=kills * (blows.spell[OURS] > 0),
        deaths=fell[OURS].astype(np.float32),
        allies_died=lost - fell[OURS],
        survived=won,
        ticks_survived=fighting + won * (TICK_LIMIT - f.tick),
    )


_KITED = np.float32(rules.REACH[rules.HEAVY] + rules.KITING_MARGIN)


def _turned(f: Packs, before: Before) -> Floats:
    """How many foes turned to each member from a mate that still stands, (pack, n)."""
    turned = (f.aim[THEIRS] != before.aims) & f.standing[THEIRS]
    n = f.tick.shape[0]
    left_standing = f.standing[OURS].reshape(-1).take(before.aims * n + np.arange(n))
    turned &= left_standing
    slots = np.arange(f.arms.pack_size)[None, :, None]
    return added(((f.aim[THEIRS][:, None] == slots) & turned[:, None]).astype(np.float32))


def _score(f: Packs) -> Floats:
    """1, 0.5 or 0 for fights that end now, -1 for the others.

    A fight is won when the last foe falls, lost when the last member does, drawn when both do. At the tick limit the
    health left decides, as a share of what each pack began with.
    """
    up = f.standing
    ours_fell, theirs_fell = ~up[OURS].any(0), ~up[THEIRS].any(0)
    shares = added((np.maximum(f.body[HEALTH], _ZERO) / f.arms.health).swapaxes(0, 1))
    lead = (shares[OURS] - shares[THEIRS]) * np.float32(1 / f.arms.pack_size)
    margin = np.float32(JUDGED_LEAD)
    judged = np.where(lead > margin, _ONE, np.where(lead < -margin, _ZERO, np.float32(0.5)))
    fought = np.where(ours_fell & theirs_fell, np.float32(0.5), theirs_fell.astype(np.float32))
    over = f.tick >= np.float32(TICK_LIMIT)
    score = np.where(ours_fell | theirs_fell, fought, np.where(over, judged, np.float32(-1)))
    return np.where(f.active, score, np.float32(-1))
