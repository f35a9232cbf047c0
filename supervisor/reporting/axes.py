"""Where the marks of an axis of time stand, and what they are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(n * MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR for n in (1, 2, 3, 6, 12)),
    *(n * DAY for n in (1, 2, 4, 7, 14, 28, 56, 112, 224, 365, 730, 1825, 3650, 36500)),
)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True)
class Span:
    """A stretch of time, seconds since 1970 in UTC; never empty."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def span_over(start_s: float, end_s: float) -> Span:
    """At least a second, so that a single moment has its place in it."""
    return Span(start_s, max(end_s, start_s + 1))


@dataclass(frozen=True)
class Mark:
    at_s: float
    text: str


def time_marks(span: Span, most: int) -> list[Mark]:
    """So many at most, at full seconds, minutes, hours or days, the first day's by its date."""
    step_s = next((step for step in STEPS_S if span.length_s / step <= most - 1), STEPS_S[-1])
    first = -int(-span.start_s // step_s)
    last = int(span.end_s // step_s)
    return [Mark(number * step_s, _text(number * step_s, step_s)) for number in range(first, last + 1)]


def _text(at_s: float, step_s: int) -> str:
    when = datetime.fromtimestamp(at_s, UTC)
    if at_s % DAY == 0:
        return day_text(at_s) if step_s < 56 * DAY else f"{MONTHS[when.month - 1]} {when.year}"
    return f"{when:%H:%M:%S}" if step_s < MINUTE else f"{when:%H:%M}"


def day_text(at_s: float) -> str:
    """`22 Nov`."""
    when = datetime.fromtimestamp(at_s, UTC)
    return f"{when.day} {MONTHS[when.month - 1]}"


def moment_text(at_s: float) -> str:
    """`2026-11-22 09:17:37`, in UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}"


def span_text(span: Span) -> str:
    """`22 Nov 2026`, or `30 Dec 2026 to 2 Jan 2027`."""
    texts = [f"{day_text(at_s)} {datetime.fromtimestamp(at_s, UTC).year}" for at_s in (span.start_s, span.end_s)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)
