"""Who is hit by what, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import Bools
from trainers.arena.packs.acting import Acts
from trainers.arena.packs.lines import Lines, added, aimed, at_target
from trainers.arena.packs.rules import CHALLENGE, CHALLENGE_REACH, CHALLENGE_TICKS, POWER, PRESS
from trainers.arena.packs.state import BUFFED, GUARDED, HEALTH, HELD, STUN, WINDUP, Packs
from trainers.arena.rules import Floats

_ZERO = np.float32(0)
_ONE = np.float32(1)


@dataclass(frozen=True)
class Blows:
    """Damage of one tick in health points. The first axes are (side of the striker, striker, struck)."""

    dealt: Floats  # (2, pack, pack, n): by blows
    spell: Floats  # (2, pack, n): the part that the striker's spell did
    returned: Floats  # (2, pack, n): by a guard's riposte; the side is that of the guard
    blocked: Floats  # (2, pack, n): what the fighter's guard took off
    absorbed: Floats  # (2, pack, n): what guard and armour together took off
    caught: Floats  # (2, pack, n): blows at mates that the fighter's guard caught

    @property
    def taken(self) -> Floats:
        """(2, pack, n): health lost to blows; ripostes, which nobody aims, are left out."""
        return added(self.dealt.swapaxes(0, 1))[::-1]


def strike(f: Packs, acts: Acts, lines: Lines, noise: Floats) -> Blows:
    """Who is hit by what; sets stuns, breaks wind-ups, takes the health off."""
    arms = f.arms
    guarded = (f.body[GUARDED] > 0) & (f.body[STUN] <= 0) & f.standing
    force, spells = _force(f, acts, lines, noise)
    at = aimed(f.aim) * force[:, :, None]  # (2, striker, struck, n)
    caught = _catch(f, at, guarded, lines)
    open_to: Floats = np.where(f.body[STUN] > 0, np.float32(rules.STUNNED_FACTOR), _ONE)
    np.copyto(open_to, _ZERO, where=~f.standing)
    met = at * (open_to / arms.armour)[::-1, None]
    through = np.where(spells, np.float32(rules.GUARD_MAGIC), np.float32(rules.GUARD_PHYSICAL))
    dealt = met * np.where(guarded[::-1, None], through[:, :, None], _ONE)
    lost = met - dealt  # (2, striker, struck, n)
    physical = np.where(spells[:, :, None], _ZERO, lost)
    returned_to = added((physical * arms.riposte[::-1, None]).transpose(2, 0, 1, 3))  # (2, striker, n)
    returned = added(physical.swapaxes(0, 1))[::-1] * arms.riposte
    blocked = added(lost.swapaxes(0, 1))[::-1]
    raw = added(at.swapaxes(0, 1))[::-1]
    taken = added(dealt.swapaxes(0, 1))[::-1]
    absorbed = np.maximum(raw * f.standing - taken, _ZERO)
    dealt_to_aim = at_target(dealt, f.aim)
    _unbalance(f, acts, dealt_to_aim > 0, guarded)
    f.body[HEALTH] -= taken + returned_to
    spell = np.where(spells, added(dealt.transpose(2, 0, 1, 3)), _ZERO)
    return Blows(dealt, spell, returned, blocked, absorbed, caught)


def _force(f: Packs, acts: Acts, lines: Lines, noise: Floats) -> tuple[Floats, Bools]:
    """What each blow that lands is worth before guards and armour, (2, pack, n); and which of them are spells."""
    fired, arms = acts.fired, f.arms
    distance = at_target(lines.distance, f.aim)
    reach = np.where(fired == POWER, arms.power_reach, arms.strike_reach)
    np.copyto(reach, np.float32(CHALLENGE_REACH), where=fired == CHALLENGE)
    force = (fired == PRESS) * arms.strike + (fired == POWER) * arms.power + (fired == CHALLENGE) * arms.bash
    force *= (1 - rules.NOISE / 2) + np.float32(rules.NOISE) * noise
    force *= 1 + np.float32(rules.BUFF_FACTOR - 1) * (f.body[BUFFED] > 0)
    force *= (distance <= reach + np.float32(rules.REACH_SLACK)) & f.standing
    return force, (fired == POWER) & (arms.spells > 0)


def _catch(f: Packs, at: Floats, guarded: Bools, lines: Lines) -> Floats:
    """Guards catch the blows at unguarded mates in reach, the first guard in the pack's order; changes `at`.

    How many blows each guard caught, (2, pack, n).
    """
    caught = np.zeros_like(lines.mates[:, 0])
    exposed = ~guarded & f.standing
    for who in range(f.arms.pack_size):
        if not guarded[:, who].any():
            continue
        covers = exposed & guarded[:, who, None] & (lines.mates[:, who] <= np.float32(rules.COVER_REACH))
        exposed &= ~covers
        stopped = at * covers[::-1, None]
        at -= stopped
        at[:, :, who] += added(stopped.transpose(2, 0, 1, 3))
        hits = (stopped > 0).astype(np.float32)
        caught[:, who] = added(added(hits.transpose(1, 2, 0, 3)))[::-1]
    return caught


def _unbalance(f: Packs, acts: Acts, hit: Bools, guarded: Bools) -> None:
    """A challenge past the guard stuns, breaks the wind-up and binds; a heavy blow on a guard leaves its owner open."""
    stun, windup, held = f.body[STUN], f.body[WINDUP], f.body[HELD]
    challenge = (acts.fired == CHALLENGE) & hit
    heavy = (acts.fired == POWER) & hit & (f.arms.spells <= 0)
    if not (challenge.any() or heavy.any()):
        return
    after = aimed(f.aim) > 0
    for who in range(f.arms.pack_size):
        bound = after[:, who] & challenge[:, who, None] & ~guarded[::-1]
        bound = bound[::-1]  # (2, pack, n): by the side of the challenged
        np.copyto(stun, np.float32(rules.BASH_STUN), where=bound)
        np.copyto(windup, _ZERO, where=bound)
        np.copyto(held, np.float32(CHALLENGE_TICKS), where=bound)
        np.copyto(f.aim, who, where=bound)
        met = (after[:, who] & guarded[::-1]).any(1)
        np.copyto(stun[:, who], np.float32(rules.STAGGER_STUN), where=heavy[:, who] & met)
