"""A curve of as many points as a picture can show, out of as many as a run has lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Point(NamedTuple):
    """What is in production from `at_s` (seconds since 1970) until the next point, and how it did on fresh games.

    `low` and `high` bound the rate with 95 % (Wilson); `rate` is None where it was not measured yet.
    """

    at_s: float
    version: str | None  # None: nothing is in production, or nothing says what
    level: int  # of the opponent; rates of different levels are not comparable
    rate: float | None
    low: float
    high: float


def thinned(points: Sequence[Point], columns: int) -> list[Point]:
    """Those of the points, in order of time, that can be seen where the curve is drawn over so many columns of pixels.

    Kept are the first and the last, and in every column the first, the last, the lowest and the highest; and every
    point where version or level changes, or where measuring begins or ends, however many there are.
    """
    if len(points) <= 2:
        return list(points)
    start_s, width_s = points[0].at_s, (points[-1].at_s - points[0].at_s) / columns or 1.0
    kept = {number for number, pair in enumerate(pairwise(points), start=1) if _is_a_change(*pair)}
    begin = 0
    for number in range(1, len(points) + 1):
        if number == len(points) or _column(points[number], start_s, width_s) != _column(
            points[begin], start_s, width_s
        ):
            kept |= {begin, number - 1, *_extremes(points, range(begin, number))}
            begin = number
    return [points[number] for number in sorted(kept)]


def _column(point: Point, start_s: float, width_s: float) -> int:
    return int((point.at_s - start_s) / width_s)


def _is_a_change(before: Point, after: Point) -> bool:
    return (before.version, before.level, before.rate is None) != (after.version, after.level, after.rate is None)


def _extremes(points: Sequence[Point], numbers: range) -> list[int]:
    """Where the curve is lowest and where it is highest; nowhere, if nothing is measured there."""
    measured = [(rate, number) for number in numbers if (rate := points[number].rate) is not None]
    return [min(measured)[1], max(measured)[1]] if measured else []
