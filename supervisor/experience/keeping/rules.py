"""What may leave a store, and where to. Pure.

Whole days (UTC) leave: once the youngest row that a day can have is old enough, and as far as everybody has read who
still reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from supervisor.experience.caretaker import DAY_US, Day, Span
from supervisor.experience.store import Position, Reader

READER_DAYS = 30
"""One that has not been seen for longer is not waited for."""


class Fate(StrEnum):
    COLD = "cold"  # into a file
    GONE = "gone"


@dataclass(frozen=True)
class Ages:
    """Days that rows stay at all, and days until they move to files; without files where the first is no longer."""

    retention_days: int
    cold_days: int


@dataclass(frozen=True)
class Step:
    """What becomes of a day of a target. `rows` were counted; what the span holds decides."""

    fate: Fate
    span: Span
    rows: int


def limit(target: str, newest: Position, readers: Iterable[Reader], now_us: int) -> Position:
    """The last position whose row may leave: that of the slowest who still reads the target, or all there is."""
    since_us = reading_since_us(now_us)
    reading = [reader.position for reader in readers if reader.target == target and reader.seen_us >= since_us]
    return min([newest, *reading])


def reading_since_us(now_us: int) -> int:
    """Who was not seen since then is not waited for."""
    return now_us - READER_DAYS * DAY_US


def fate(begin_us: int, now_us: int, ages: Ages) -> Fate | None:
    """Of the day that began then; None stays."""
    age_us = now_us - (begin_us + DAY_US)
    if age_us >= ages.retention_days * DAY_US:
        return Fate.GONE
    return Fate.COLD if age_us >= ages.cold_days * DAY_US else None


def steps(target: str, days: Sequence[Day], upto: Position, now_us: int, ages: Ages) -> list[Step]:
    """For a target's days, the first one first."""
    return [
        Step(found, Span(target, day.begin_us, day.begin_us + DAY_US, upto), day.rows)
        for day in days
        if (found := fate(day.begin_us, now_us, ages)) is not None
    ]


def before_us(now_us: int, ages: Ages) -> int:
    """Rows that are younger stay whatever happens."""
    return now_us - min(ages.retention_days, ages.cold_days) * DAY_US
