"""When trials that run make room for other programs, and when they go on. Pure.

A peak of a moment moves nothing: saving and starting again costs seconds. What is left out here is our own load, which
no sample holds.
"""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_S = 5.0
"""For so long the limits must be exceeded at every look until trials leave, and kept until they come back."""

LOOKS = 3
"""And at as many looks at least: where nobody looked for a while, one look says little."""


@dataclass(frozen=True)
class Pressure:
    """What the looks so far come to. The streak is of looks that speak for the other state, in a row."""

    yielding: bool = False
    streak: int = 0
    since_s: float = 0.0  # its first look, by the monotonic clock


def after_look(before: Pressure, exceeded: bool, released: bool, now_s: float) -> Pressure:
    """`exceeded`: use is above the limits; `released`: it has fallen clearly below them."""
    speaks_for_change = released if before.yielding else exceeded
    if not speaks_for_change:
        return Pressure(before.yielding)
    since_s = before.since_s if before.streak else now_s
    streak = before.streak + 1
    if streak >= LOOKS and now_s - since_s >= PATIENCE_S:
        return Pressure(not before.yielding)
    return Pressure(before.yielding, streak, since_s)
