"""Eight styles in which the traditional AI may fight: the same fighter, the same blows, other habits.

A style is nothing that one look shows. Each takes away or puts in blows depending on the moment, so that what tells two
of them apart is what follows what, and when. Time since a blow is read from its cooldown, so that a style needs no
memory of its own.

| style | habit |
|---|---|
| plain | none |
| drummer | fights two ticks, rests two |
| surger | fights four ticks, rests four |
| finisher | hard blows only soon after a quick one, and then always |
| opener | quick blows only soon after a hard one, and then always |
| avenger | hard blows only where it was just hit, and then always |
| warden | guards after every blow of its own |
| prowler | leaps after every hard blow, and lets two ticks go by |

Quick blows are bash and shot, hard ones heavy and spell.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainers.arena import rules
from trainers.arena.fights import MANA, Bools, Fights
from trainers.arena.geometry import Geometry
from trainers.arena.rules import BASH, BLOCK, DASH, FOE, HEAVY, SHOT, SPELL, STRIKE, WAIT, Floats, Ints
from trainers.arena.traditional import Temper, choose

STYLES: Final = ("plain", "drummer", "surger", "finisher", "opener", "avenger", "warden", "prowler")
PLAIN, DRUMMER, SURGER, FINISHER, OPENER, AVENGER, WARDEN, PROWLER = range(len(STYLES))

COMMON: Final = Temper(reaction=0.3, dither=0.15)
"""What all of them do where their habit says nothing."""

SOON_TICKS: Final = 4
"""A habit that waits for a blow waits this long after it."""


def act(style: Ints, shows: Bools, phase: Ints, f: Fights, geometry: Geometry, u: Floats) -> tuple[Ints, Ints | None]:
    """The actions of foe and ally, shape (n,) each, as `traditional.choose` gives them.

    `style` (n,) is the foe's in each fight, `shows` (n,) where it acts on it in this tick, `phase` (n,) where in its
    rhythm it began.
    """
    foe, ally = choose(f, geometry, COMMON, u)
    can = (f.ready[FOE] <= f.tick) & (f.body[MANA, FOE] >= rules.MANA_COST[:, None])
    since = f.tick - f.ready[FOE] + rules.COOLDOWN[:, None]  # ticks since each blow was begun
    quick_since, hard_since = since[[BASH, SHOT]].min(0), since[[HEAVY, SPELL]].min(0)
    after_quick, after_hard = _soon(quick_since), _soon(hard_since)
    light, hard = _light(geometry), _hard(can, geometry)
    is_quick, is_hard = (foe == BASH) | (foe == SHOT), (foe == HEAVY) | (foe == SPELL)
    clock = f.tick.astype(np.int64) + phase

    def habit(number: int, where: Bools, action: Ints | int) -> None:
        np.copyto(foe, action, where=shows & (style == number) & where)

    habit(DRUMMER, clock % 4 >= 2, WAIT)
    habit(SURGER, clock % 8 >= 4, WAIT)
    habit(FINISHER, is_hard & ~after_quick, light)
    habit(FINISHER, after_quick, hard)
    habit(OPENER, is_quick & ~after_hard, light)
    habit(OPENER, after_hard, _quick(can, geometry))
    was_hit = f.tick - f.last_hit <= 1
    habit(AVENGER, is_hard & ~was_hit, light)
    habit(AVENGER, was_hit, hard)
    habit(WARDEN, can[BLOCK] & (_soon(quick_since) | _soon(hard_since)), BLOCK)
    habit(PROWLER, after_hard, WAIT)
    habit(PROWLER, can[DASH] & after_hard, DASH)
    return foe, ally


def _soon(since: Floats) -> Bools:
    """Begun a moment ago: also where it is still being wound up, when nothing that is chosen counts."""
    soon: Bools = since <= SOON_TICKS
    return soon


def _light(geometry: Geometry) -> Ints:
    return np.where(geometry.distance[FOE] <= rules.REACH[STRIKE], STRIKE, WAIT)


def _quick(can: Bools, geometry: Geometry) -> Ints:
    """The quick blow that is possible, else a light one."""
    close = geometry.distance[FOE] <= rules.REACH[BASH]
    action = np.where(can[SHOT] & ~close, SHOT, _light(geometry))
    return np.where(can[BASH] & close, BASH, action)


def _hard(can: Bools, geometry: Geometry) -> Ints:
    """The hard blow that is possible, else a light one."""
    distance = geometry.distance[FOE]
    action = np.where(can[SPELL] & (distance <= rules.REACH[SPELL]), SPELL, _light(geometry))
    return np.where(can[HEAVY] & (distance <= rules.REACH[HEAVY]), HEAVY, action)
