"""When a confirmation is due, and what stagnation does: pure rules of counted lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONFIRMATION_TRIALS = (8, 16, 24, 40)  # SPSA trials of a target, then every CONFIRMATION_PERIOD
CONFIRMATION_PERIOD = 40
CONFIRMATION_CANDIDATES = 7  # theta, its average and the best five
WIDENING = 1.5  # of steps and perturbations, per level of stagnation
WIDEST = 2.25


def confirmations(trials: int) -> int:
    """How many confirmations the schedule holds up to this many SPSA trials."""
    last = CONFIRMATION_TRIALS[-1]
    if trials < last:
        return sum(trials >= mark for mark in CONFIRMATION_TRIALS)
    return len(CONFIRMATION_TRIALS) + (trials - last) // CONFIRMATION_PERIOD


def confirmation_due(trials: int, confirmed_at: int) -> bool:
    """Whether a mark of the schedule was passed since the last confirmation, held after `confirmed_at` trials."""
    return confirmations(trials) > confirmations(confirmed_at)


@dataclass(frozen=True)
class Stagnation:
    """level 0: all is well; 1: wider steps; from 2 on another sampler each time, and back to the first after the last.

    `event` is what the operator is told, on the iteration at which the level rises; empty otherwise.
    """

    level: int
    sampler: str
    widen: float
    event: str = ""


def stagnation(
    target: str, since_promotion: int, sampler: str, on_stagnation: Sequence[str], period: int
) -> Stagnation:
    """What `since_promotion` iterations of a target without promotion lead to; `period` iterations are one level."""
    level = since_promotion // period
    samplers = (sampler, *on_stagnation)
    acting = samplers[(level - 1) % len(samplers)] if level >= 2 else sampler
    widen = min(WIDENING**level, WIDEST)
    event = ""
    if level and since_promotion == level * period:
        event = (
            f"{target}: {since_promotion} iterations without a promotion; steps are {widen:g} times as wide"
            f" and the sampler is {acting}"
        )
    return Stagnation(level=level, sampler=acting, widen=widen, event=event)
