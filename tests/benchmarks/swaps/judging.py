"""What the load's log says, held against the changes: answers that failed, were wrong or came too late, and how long
they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.swaps.asking import Log
from tests.benchmarks.swaps.changes import Change

Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Times:
    """Of some number of things, in milliseconds; zeros where there are none."""

    count: int
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @classmethod
    def of(cls, values_ms: NDArray[np.float64] | Sequence[float]) -> Times:
        values = np.asarray(values_ms, np.float64)
        if not values.size:
            return cls(0, 0.0, 0.0, 0.0)
        p50_ms, p99_ms = (float(value) for value in np.quantile(values, (0.5, 0.99)))
        return cls(values.size, p50_ms, p99_ms, float(values.max()))


@dataclass(frozen=True)
class Faults:
    """Counts of answers."""

    failed: int
    wrong: int
    stale: int

    def __add__(self, other: Faults) -> Faults:
        return Faults(self.failed + other.failed, self.wrong + other.wrong, self.stale + other.stale)


def faults(log: Log, stale: Marks) -> Faults:
    return Faults(int((log.versions == -1).sum()), int(log.wrong.sum()), int(stale.sum()))


def stale_in_turn(log: Log, first: str, changes: Sequence[Change]) -> Marks:
    """Answers by a version that was not live at any time between sending and answer, where one change followed the
    other: not before the last one acknowledged when it was sent, not after the last one begun when it was answered."""
    place = {name: number for number, name in enumerate(log.names)}
    order = np.array([place[first], *(place[change.live] for change in changes)])
    oldest = np.searchsorted([change.acked_s for change in changes], log.sent_s, side="right")
    newest = np.searchsorted([change.begun_s for change in changes], log.answered_s, side="left")
    may = np.zeros(len(log.versions), bool)
    for step in range(int((newest - oldest).max(initial=0)) + 1):
        at = oldest + step
        may |= (at <= newest) & (order[np.minimum(at, len(changes))] == log.versions)
    return (log.versions >= 0) & ~may


def stale_gone(log: Log, gone_s: Mapping[str, float]) -> Marks:
    """Answers to what was sent after the version that gives them was rolled back, which is for good."""
    stale = np.zeros(len(log.versions), bool)
    for number, name in enumerate(log.names):
        if name in gone_s:
            stale |= (log.versions == number) & (log.sent_s > gone_s[name])
    return stale


def beside(log: Log, changes: Sequence[Change]) -> Marks:
    """Answers that were under way while a change was; the changes came one after the other."""
    if not changes:
        return np.zeros(len(log.versions), bool)
    next_one = np.searchsorted([change.acked_s for change in changes], log.sent_s, side="right")
    begun_s = np.array([*(change.begun_s for change in changes), np.inf])
    marks: Marks = begun_s[next_one] < log.answered_s
    return marks
