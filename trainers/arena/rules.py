"""What the ten combat actions cost and do, as tables indexed by action."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainers.arena.stats import Fighter

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

WAIT, STRIKE, HEAVY, SHOT, SPELL, BLOCK, DASH, HEAL, BUFF, BASH = range(10)
ACTIONS: Final = 10
APPROACH: Final = 10  # what an attack becomes while its target is out of reach
STILL: Final = 11  # stunned, winding up or fallen
CODES: Final = 12

LEARNER, FOE, ALLY = 0, 1, 2

TICK_LIMIT: Final = 100
JUDGED_LEAD: Final = 0.05
"""At the tick limit the side with more of its health left wins if it leads by this fraction; less is a draw."""

FIELD: Final = 24.0  # the field is a square of FIELD steps
REACH_SLACK: Final = 0.8  # a blow under way still lands on one who took less than this step out of its reach
CARE_REACH: Final = 8.0  # heals and buffs reach a companion this near
COVER_REACH: Final = 3.0  # a guard catches blows at a companion this near
LEAP: Final = 3.5
GUARD_TICKS: Final = 2
BUFF_TICKS: Final = 10
BUFF_FACTOR: Final = 1.35
BASH_STUN: Final = 2
STAGGER_STUN: Final = 3  # a heavy blow that meets a guard leaves its owner open
STUNNED_FACTOR: Final = 1.5  # damage taken while stunned
GUARD_PHYSICAL, GUARD_MAGIC = 0.2, 0.55  # what comes through a guard
NOISE: Final = 0.3  # damage varies by +- half of this
NEED: Final = 0.6  # below this health fraction a heal counts as effective
SUSTAINED_TICKS: Final = 5.0  # a hit this soon after the last one is sustained fire
KITING_MARGIN: Final = 4.0  # a foe this many steps beyond heavy reach is near enough to be kited


def _table(fill: float, **values: float) -> Floats:
    table = np.full(CODES, fill, np.float32)
    for name, value in values.items():
        table[globals()[name]] = value
    return table


MANA_COST: Final = _table(0, SPELL=24, HEAL=30, BUFF=20)
COOLDOWN: Final = _table(0, HEAVY=6, SHOT=2, SPELL=4, BLOCK=4, DASH=6, HEAL=6, BUFF=14, BASH=9)
WINDUP: Final = _table(0, HEAVY=2, SPELL=2, HEAL=1)
REACH: Final = _table(np.inf, STRIKE=2, HEAVY=2.5, SHOT=12, SPELL=10, BASH=2.5)
PHYSICAL_POWER: Final = _table(0, STRIKE=4.5, HEAVY=17, SHOT=5.5, BASH=3)
MAGIC_POWER: Final = _table(0, SPELL=15)


def power_table(fighter: Fighter, damage: float = 1.0) -> Floats:
    """Damage of each action before noise, buff and armour, shape (12,)."""
    table: Floats = (PHYSICAL_POWER * fighter.attack + MAGIC_POWER * fighter.magic) * np.float32(damage)
    return table


def gain_table(fighter: Fighter) -> Floats:
    """Mana that its owner gains in a tick of each action, shape (12,)."""
    return _table(fighter.rest / 3, WAIT=fighter.rest)


def pace_table(fighter: Fighter) -> Floats:
    """How far each action may carry its owner in a tick, shape (12,)."""
    return _table(0, WAIT=fighter.speed, APPROACH=fighter.speed, DASH=LEAP)


def goal_table(fighter: Fighter) -> Floats:
    """The distance to its target that each action makes for, shape (12,)."""
    return _table(fighter.distance, APPROACH=1.0)


def stride_table(fighter: Fighter) -> Floats:
    """How far each action lets its owner go on its own in a tick, where it is steered, shape (12,)."""
    return _table(fighter.speed, DASH=LEAP, STILL=0)
