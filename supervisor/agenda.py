"""Which target next: stride scheduling over frequency classes, a pure function of what was picked before.

Each target has a `pass`; the one with the smallest is due, ties in order of key. A pick adds the class's stride, so a
`high` target comes in every cycle, a `medium` one in every third, a `low` one in every tenth (requirement B3). A target
that is new, or was away, joins at the current pass instead of catching up.
Source: C. Waldspurger, W. Weihl, Stride Scheduling, MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

STRIDES = {"high": 1, "medium": 3, "low": 10}


@dataclass(frozen=True)
class Agenda:
    """Passes by target, and the pass of the last pick."""

    passes: Mapping[str, int] = field(default_factory=dict)
    now: int = 0


def due(agenda: Agenda, frequencies: Mapping[str, str]) -> str:
    """The key of the target that is due. `frequencies` maps each active target to its class; it must not be empty."""
    return min(sorted(frequencies), key=lambda key: max(agenda.passes.get(key, agenda.now), agenda.now))


def picked(agenda: Agenda, target: str, frequency: str) -> Agenda:
    """The agenda after the target got its iteration."""
    now = max(agenda.passes.get(target, agenda.now), agenda.now)
    return replace(agenda, passes={**agenda.passes, target: now + STRIDES[frequency]}, now=now)
