"""What the lines add up to, for whoever watches a run for months. Pure, a fold like the state that carries it.

Nothing decides by these figures. As in a line, what a clock gave stands in `time` and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from supervisor.contract import Outcome, Reason, Status
from supervisor.record import PURPOSES_OF_PEOPLE, Record

BOUNDS_S = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)
MANUAL = "manual"  # the purpose of a line that ran no trial
FAILED = "failed"
LESSON_OUTCOMES = (*Outcome, FAILED)
"""A decision's, or that there was no candidate to decide on."""

GOT_ON = frozenset({Status.COMPLETE, Status.PRUNED})

K = TypeVar("K")


@dataclass(frozen=True)
class Times:
    """How long the trials took, and when the last line was written."""

    durations: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)  # trials up to each bound, and beyond the last
    trial_s: Mapping[str, float] = field(default_factory=dict)  # of each target's trials together
    last_commit: str = ""  # the wall's time as the line has it


@dataclass(frozen=True)
class TargetTotals:
    """One target's lines."""

    statuses: Mapping[Status, int] = field(default_factory=dict)
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)  # of its paired tests
    candidates: int = 0  # trials that yielded one
    promotions: int = 0  # versions that went into production: first ones, proven ones, those promoted by hand
    delta: float | None = None  # of the last candidate to the incumbent of its time, on the screen games
    gain: float | None = None  # of the last proven promotion, on its measuring games
    lessons: Mapping[str, int] = field(default_factory=dict)  # trials that learnt from play, by LESSON_OUTCOMES
    learnt_rows: int = 0  # new experiences of the lessons whose training came to its end


@dataclass(frozen=True)
class Totals:
    """The run's lines."""

    targets: Mapping[str, TargetTotals] = field(default_factory=dict)
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    failed_in_a_row: int = 0
    time: Times = field(default_factory=Times, compare=False)

    def target(self, key: str) -> TargetTotals:
        return self.targets.get(key, TargetTotals())


def add_line(totals: Totals, record: Record) -> Totals:
    """The totals after one more line."""
    return Totals(
        targets={**totals.targets, record.target: _add_to_target(totals.target(record.target), record)},
        reasons=_one_more(totals.reasons, record.reason),
        failed_in_a_row=_failed_in_a_row(totals.failed_in_a_row, record),
        time=_add_to_times(totals.time, record),
    )


def _add_to_target(target: TargetTotals, record: Record) -> TargetTotals:
    candidate = record.status is Status.COMPLETE and record.purpose != MANUAL
    outcomes = target.outcomes
    return replace(
        target,
        statuses=_one_more(target.statuses, record.status),
        outcomes=_one_more(outcomes, record.decision.outcome) if record.was_tested else outcomes,
        candidates=target.candidates + candidate,
        promotions=target.promotions + record.promoted,
        delta=target.delta if record.delta is None else record.delta,
        gain=record.improvement if record.is_promotion_by_test else target.gain,
        lessons=target.lessons if record.lesson is None else _one_more(target.lessons, lesson_outcome(record)),
        learnt_rows=target.learnt_rows + (record.lesson.rows if record.lesson is not None and candidate else 0),
    )


def lesson_outcome(record: Record) -> str:
    """What became of a line's lesson, one of LESSON_OUTCOMES."""
    return record.decision.outcome if record.status is Status.COMPLETE else FAILED


def _add_to_times(times: Times, record: Record) -> Times:
    times = replace(times, last_commit=str(record.time.get("finished_at") or times.last_commit))
    took_s = _duration_s(record)
    if took_s is None:
        return times
    place, counts, sums = bisect_left(BOUNDS_S, took_s), times.durations, times.trial_s
    return replace(
        times,
        durations=(*counts[:place], counts[place] + 1, *counts[place + 1 :]),
        trial_s={**sums, record.target: sums.get(record.target, 0.0) + took_s},
    )


def _failed_in_a_row(before: int, record: Record) -> int:
    if record.purpose in PURPOSES_OF_PEOPLE:
        return before
    return 0 if record.status in GOT_ON else before + 1


def _duration_s(record: Record) -> float | None:
    """Of the trial's processes; None where none was run."""
    took_s = record.time.get("duration_s")
    return float(took_s) if isinstance(took_s, int | float) and record.purpose != MANUAL else None


def _one_more(counts: Mapping[K, int], key: K) -> dict[K, int]:
    return {**counts, key: counts.get(key, 0) + 1}
