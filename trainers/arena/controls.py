"""Three ways to play the learner: by combat actions, by directions, by a pad.

| control | actions | the learner's step | its combat action |
|---|---|---|---|
| `combat` | integers 0 to 9, (rows,) | follows from the action, see `rules` | the action |
| `direction` | integers 0 to 8, (rows,) | toward `autopilot.COMPASS[:, direction]`; 0 stays | the autopilot's |
| `pad` | float32 in [-1, 1], (rows, 4) | along (move x, move y), at most of length 1 | by assault and guard |

One who walks can only strike, bash, guard and leap: for anything else one has to stand. A direction goes before: what
the script wants else meanwhile is not done. On the pad the deed goes before: whatever is not done while walking, a shot
or the script's heal too, stops the step, or random play, from which a learner starts, would hardly ever see a shot.

Assault on the pad: at most 0 is no attack (the autopilot heals and strengthens where it is called for), up to 0.5 a
shot or a strike, above that the heaviest blow that is possible. Guard: at most 0 is none, up to 0.5 a guard, above that
a leap along the step; what is not ready yields to the other of the two, and then to the assault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.arena import autopilot, rules
from trainers.arena.fights import Fights
from trainers.arena.geometry import Geometry
from trainers.arena.rules import ACTIONS, BASH, BLOCK, DASH, HEAVY, SPELL, STRIKE, WAIT, Floats, Ints

Actions = NDArray[Any]
"""What a control takes: integers (rows,) or float32 (rows, 4)."""

DIRECTIONS: Final = 9
PAD: Final = 4
STAY: Final = 0
_AFOOT = np.isin(np.arange(ACTIONS), (WAIT, STRIKE, BLOCK, DASH, BASH))
"""What can be done while walking."""

FIRM: Final = 0.5
"""Above this the pad means the stronger of the two attacks or guards."""


class Command(NamedTuple):
    """What the learner does in a tick."""

    action: Ints  # (rows,): combat actions
    heading: Floats | None  # (2, rows): its own step, at most of length 1; None where the action says where it goes


def _combat(f: Fights, geometry: Geometry, actions: Actions) -> Command:
    return Command(_chosen(f, actions, ACTIONS), None)


def _direction(f: Fights, geometry: Geometry, actions: Actions) -> Command:
    heading: Floats = autopilot.COMPASS.take(_chosen(f, actions, DIRECTIONS), axis=1)
    action = autopilot.fight(f, geometry)
    return Command(np.where((actions != STAY) & ~_AFOOT.take(action), WAIT, action), heading)


def _pad(f: Fights, geometry: Geometry, actions: Actions) -> Command:
    rows = f.tick.shape[0]
    if actions.shape != (rows, PAD) or actions.dtype != np.float32 or not (np.abs(actions) <= 1).all():
        raise ValueError(f"actions must be float32 of shape ({rows}, {PAD}) in [-1, 1]")
    x, y, assault, guard = actions.T
    action = _fought(f, geometry, assault, guard)
    stride = _AFOOT.take(action) / np.maximum(np.sqrt(x * x + y * y), np.float32(1))
    return Command(action, np.stack([x * stride, y * stride]))


def _fought(f: Fights, geometry: Geometry, assault: Floats, guard: Floats) -> Ints:
    can = autopilot.possible(f)
    light = autopilot.light_attack(f, geometry)
    heavy = light.copy()
    distance = geometry.learner_foe
    np.copyto(heavy, SPELL, where=can[SPELL] & (distance <= rules.REACH[SPELL]))
    np.copyto(heavy, BASH, where=can[BASH] & (distance <= rules.REACH[BASH]))
    np.copyto(heavy, HEAVY, where=can[HEAVY] & (distance <= rules.REACH[HEAVY]))
    attack = np.where(assault > np.float32(FIRM), heavy, light)
    action: Ints = np.where(assault > 0, attack, autopilot.care(f, geometry))
    leap = guard > np.float32(FIRM)
    for answer, wanted in ((BLOCK, leap), (DASH, ~leap), (DASH, leap), (BLOCK, ~leap)):
        np.copyto(action, answer, where=(guard > 0) & wanted & can[answer])
    return action


def _chosen(f: Fights, actions: Actions, choices: int) -> Ints:
    if actions.shape != f.tick.shape or actions.min() < 0 or actions.max() >= choices:
        raise ValueError(f"actions must be {f.tick.shape[0]} integers from 0 to {choices - 1}")
    return actions


Control = Callable[[Fights, Geometry, Actions], Command]
"""Raises ValueError for actions of another shape or range."""

CONTROLS: Final[Mapping[str, Control]] = MappingProxyType({"combat": _combat, "direction": _direction, "pad": _pad})
