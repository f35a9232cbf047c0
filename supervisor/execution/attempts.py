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


def exhausted(history: Sequence[tuple[str, bool]]) -> bool:
    """Whether a trial has failed for good. `history` has a pair per ended process of the trial, oldest first: a mark of
    what was saved by then ("" for nothing), and whether its end counts (a crash does, a wish to stop does not).

    Only attempts that saved nothing new count, in a row: a trial that gets further each time goes on.
    """
    in_vain = 0
    before = ""
    for mark, counts in history:
        if mark != before:
            in_vain = 0
        elif counts:
            in_vain += 1
        before = mark
    return in_vain >= MAX_ATTEMPTS


def remaining(budget: Budget, used_s: float, used_gpu_s: float) -> Budget:
    """The budget less the seconds that earlier attempts used; never quite nothing, so that the net can say so."""
    gpu_s = None if budget.gpu_s is None else max(1.0, budget.gpu_s - used_gpu_s)
    return replace(budget, wall_s=max(1.0, budget.wall_s - used_s), gpu_s=gpu_s)


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
