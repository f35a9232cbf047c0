"""When a trial is tried again, and when the whole run takes a breath. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.contract import Budget, Status

MAX_ATTEMPTS = 3  # in a row that saved nothing new
PATIENCE_TRIALS = 5  # failed trials in a row before the first pause
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
LONGEST_LOOK_BACK = 64  # lines; more failures than that pause no longer


def exhausted(marks: Sequence[str]) -> bool:
    """Whether a stage has failed for good. `marks` are what each failed attempt had saved by its end, oldest first.

    Only attempts that saved nothing new since the one before count: a trial that gets further each time goes on.
    """
    if len(marks) < MAX_ATTEMPTS:
        return False
    return len(set(marks[-MAX_ATTEMPTS:])) == 1


def remaining(budget: Budget, used_s: float) -> Budget:
    """The budget less the wall seconds that earlier attempts used; never quite nothing, so that the net can say so."""
    return replace(budget, wall_s=max(1.0, budget.wall_s - used_s))


def back_off_s(statuses: Sequence[Status]) -> float:
    """Seconds to wait before the next trial: 0, or 1, 2, 4 ... minutes from the fifth failure in a row on.

    `statuses` are those of the latest lines, oldest first.
    """
    failures = 0
    for status in reversed(statuses):
        if status in (Status.COMPLETE, Status.PRUNED):
            break
        failures += 1
    if failures < PATIENCE_TRIALS:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (failures - PATIENCE_TRIALS))
