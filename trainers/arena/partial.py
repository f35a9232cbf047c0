"""What a learner sees of a foe that does not show everything: why it pays to remember.

Never seen: the foe's mana and cooldowns, and how much more it minds the learner than the ally. A blow that it winds up
is seen in the tick in which it is begun, not while it goes on: who does not remember it is hit by it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainers.arena import rules
from trainers.arena.observation import (
    CHARGED,
    COOLING,
    FIGHTER_COLUMNS,
    FOE_FROM,
    TIME_FROM,
    WIDTH,
)
from trainers.arena.rules import Floats

_MANA, _WINDUP, _COOLDOWNS = FOE_FROM + 1, FOE_FROM + 2, FOE_FROM + 6
_KINDS = slice(FOE_FROM + FIGHTER_COLUMNS - len(CHARGED), FOE_FROM + FIGHTER_COLUMNS)
_THREAT = TIME_FROM + 2
_HIDDEN = {_MANA, *range(_COOLDOWNS, _COOLDOWNS + len(COOLING)), _THREAT}
_SEEN = np.array([column for column in range(WIDTH) if column not in _HIDDEN])
_BEGUN = rules.WINDUP[list(CHARGED)] * np.float32(0.5)  # the wind-up column where each kind is begun

PARTIAL_WIDTH: Final = len(_SEEN)


def partial(observation: Floats) -> Floats:
    """(rows, 64) -> (rows, PARTIAL_WIDTH), a new array; columns keep their order."""
    begins = (observation[:, _KINDS] * _BEGUN).sum(1) == observation[:, _WINDUP]
    shown = observation.copy()
    shown[:, _WINDUP] *= begins
    shown[:, _KINDS] *= begins[:, None]
    return shown[:, _SEEN]
