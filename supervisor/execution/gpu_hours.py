"""How long a target may hold the GPU in a day. Pure: the day is an argument, what was used stands in the log lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from supervisor.contract import Json
from supervisor.execution.room import Admission

HOUR_S = 3600.0
DAY_CHARACTERS = len("2000-01-01")


class Line(Protocol):
    """What counts of a log line."""

    @property
    def target(self) -> str: ...

    @property
    def time(self) -> Mapping[str, Json]: ...


def within_gpu_hours(
    target: str, hours: float | None, now: str, records: Sequence[Line], in_flight_s: float
) -> Admission:
    """Whether the target may start a trial at `now` (ISO, UTC). `in_flight_s` was used and stands in no line yet."""
    if hours is None:
        return Admission(True)
    day = now[:DAY_CHARACTERS]
    if in_flight_s + _used_s(target, day, records) < hours * HOUR_S:
        return Admission(True)
    return Admission(
        False,
        f"{target} has held the GPU for its {hours:g} hours of {day} (UTC): its next trial, and those of targets that"
        " are due after it, start on the next day (budgets.gpu_hours_per_day)",
    )


def _used_s(target: str, day: str, records: Sequence[Line]) -> float:
    used_s = 0.0
    for record in reversed(records):
        ended = str(record.time.get("finished_at", ""))[:DAY_CHARACTERS]
        if ended < day:
            break
        seconds = record.time.get("gpu_seconds")
        if record.target == target and ended == day and isinstance(seconds, int | float):
            used_s += seconds
    return used_s
