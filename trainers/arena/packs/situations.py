"""Moments of scripted pack fights, and who did most harm to whom in the ticks that followed.

A fight's seed fixes everything: who stands where, what both scripts do, when the moment is and whom it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from trainers.arena.fights import Bools
from trainers.arena.packs import script
from trainers.arena.packs.arena import pack_uniforms
from trainers.arena.packs.lines import FAR, Lines, measure
from trainers.arena.packs.observation import Observer
from trainers.arena.packs.rewards import member_rewards
from trainers.arena.packs.rules import LARGEST_PACK, OURS, THEIRS, Arms
from trainers.arena.packs.script import DRAWS, Drill
from trainers.arena.packs.state import WINDUP, Packs
from trainers.arena.packs.tick import play_tick
from trainers.arena.randomness import Seeds, uniforms
from trainers.arena.rules import Floats, Ints

HORIZON: Final = 6
"""Ticks over which harm is counted."""

EARLIEST, LATEST = 4, 20  # the tick of the moment
NOBODY: Final = LARGEST_PACK
CLASSES: Final = LARGEST_PACK + 1

FOE_STRENGTH: Final = 0.8
OUR_DRILL: Final = Drill(reaction=0.3, dither=0.1, focus=0.4, restless=0.3, power=0.6)

STEADY: Final = 0.05  # how restless the foes' script is: what makes a situation hard is the whim

_MOMENT = np.uint64(2**33)  # the draws that choose tick and member lie beyond any tick of play


@dataclass(frozen=True)
class Situations:
    """One moment of each of n fights, as each member of our pack sees it."""

    observation: Floats  # (n, 5, 64)
    threat: (
        Ints  # (n, 5): the foe whose blows took most health off the member within HORIZON ticks; of equals the first
    )
    stake: Floats  # (n, 5): the size of its shaped return over these ticks
    standing: Bools  # (n, 5)
    nearest: Ints  # (n, 5): the nearest foe that stands
    member: Ints  # (n,): whom the fight is about, one that stands if there is any

    def chosen(self) -> tuple[Floats, Ints, Ints]:
        """Observation (n, 64), threat (n,) and nearest foe (n,) of the member that each fight is about."""
        at = np.arange(len(self.member)), self.member
        return self.observation[at], self.threat[at], self.nearest[at]


def situations(archetype: str, level: int, whim: float, weights: Mapping[str, float], seeds: Seeds) -> Situations:
    """A moment of every fight of `seeds`. `whim` is the chance per tick that a foe turns to anybody, for no reason."""
    n = len(seeds)
    f = Packs.empty(Arms(archetype, LARGEST_PACK, FOE_STRENGTH), n)
    f.open_rows(np.arange(n, dtype=np.int64), seeds)
    drills = OUR_DRILL, replace(script.drill(level), restless=STEADY)
    u = uniforms(seeds, np.full(n, _MOMENT), 1)
    at = EARLIEST + (u[0] * (LATEST - EARLIEST)).astype(np.int64)
    harm = np.zeros((LARGEST_PACK, LARGEST_PACK, n), np.float32)
    returns = np.zeros((LARGEST_PACK, n), np.float32)
    observer = Observer(LARGEST_PACK, n)
    seen = np.zeros((n, LARGEST_PACK, 64), np.float32)
    standing = np.zeros((LARGEST_PACK, n), np.bool_)
    nearest = np.zeros((LARGEST_PACK, n), np.int64)
    lines = measure(f)
    for tick in range(LATEST + HORIZON):
        now = at == tick
        if now.any():
            seen[now] = observer.look(f, lines)[now]
            standing[:, now] = f.standing[OURS][:, now]
            nearest[:, now] = _nearest(f, lines)[:, now]
        counted = (at <= tick) & (tick < at + HORIZON)
        drawn = pack_uniforms(f)
        orders = np.stack([script.orders(f, lines, side, drills[side], _own(drawn, side)) for side in (OURS, THEIRS)])
        _turn(f, whim, drawn)
        events, dealt, _ = play_tick(f, orders, lines, drawn[DRAWS:])
        harm += dealt * counted
        returns += member_rewards(archetype, weights, events) * counted
        lines = measure(f)
    threat = np.where(harm.max(0) > 0, harm.argmax(0), NOBODY)
    member = _somebody(standing, u[1])
    return Situations(seen, threat.T, np.abs(returns).T, standing.T, nearest.T, member)


def _own(drawn: Floats, side: int) -> Floats:
    """The script's uniforms of a side. Ours are theirs backwards and shifted: they must not decide alike."""
    if side == THEIRS:
        return drawn[:DRAWS]
    shifted: Floats = (drawn[:DRAWS][::-1, ::-1] + np.float32(0.5)) % np.float32(1)
    return shifted


def _turn(f: Packs, whim: float, drawn: Floats) -> None:
    """Foes that follow a whim are after anybody, each who stands being as likely, unless they wind a blow up."""
    u = (drawn[0] * np.float32(17)) % np.float32(1)  # what the script makes of these draws tells nothing about this
    anybody = _somebody(f.standing[OURS], (drawn[1] * np.float32(13)) % np.float32(1))
    turns = (u < np.float32(whim)) & (f.body[WINDUP, THEIRS] <= 0) & f.active
    np.copyto(f.aim[THEIRS], anybody, where=turns)


def _nearest(f: Packs, lines: Lines) -> Ints:
    found: Ints = np.where(f.standing[THEIRS], lines.distance[OURS], FAR).argmin(1)
    return found


def _somebody(standing: Bools, u: Floats) -> Ints:
    """One of those who stand (pack, n), each as likely; the first where nobody does. `u` (..., n) are uniforms."""
    rank = (u * standing.sum(0)).astype(np.int64)
    order = np.cumsum(standing, axis=0) - 1
    found: Ints = (standing & (order == rank[..., None, :])).argmax(-2)
    return found
