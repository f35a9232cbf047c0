"""The measured win rate as a step curve with its interval: paths of SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.reporting.frame import Frame, number
from supervisor.reporting.thinning import Point


@dataclass(frozen=True)
class Step:
    """From x to x the rate stood at these heights."""

    begin: float
    end: float
    rate: float
    low: float
    high: float


def runs(points: Sequence[Point], frame: Frame) -> Iterator[list[Step]]:
    """The steps that one line connects: another level of the opponent, or nothing measured, ends it. What is in
    production at the last point is so until the frame ends."""
    run: list[Step] = []
    level = None
    for number_, point in enumerate(points):
        if run and (point.rate is None or point.level != level):
            yield run
            run = []
        level = point.level
        if point.rate is not None:
            end_s = points[number_ + 1].at_s if number_ + 1 < len(points) else frame.span.end_s
            heights = (frame.y(point.rate), frame.y(point.low), frame.y(point.high))
            run.append(Step(frame.x(point.at_s), frame.x(end_s), *heights))
    if run:
        yield run


def line_path(run: Sequence[Step]) -> str:
    """The curve."""
    return _stairs([(step.begin, step.end, step.rate) for step in run])


def band_path(run: Sequence[Step]) -> str:
    """Around it, what the rate is with 95 %."""
    there = _stairs([(step.begin, step.end, step.high) for step in run])
    back = _stairs([(step.end, step.begin, step.low) for step in reversed(run)])
    return f"{there}L{back[1:]}Z"


def _stairs(steps: Sequence[tuple[float, float, float]]) -> str:
    """Level from the first x of each step to its second; what does not move the pen is left out."""
    begin, _, height = steps[0]
    pieces = [f"M{number(begin)},{number(height)}"]
    at_height = number(height)
    for begin, _, height in steps[1:]:
        if number(height) != at_height:
            at_height = number(height)
            pieces.append(f"H{number(begin)}V{at_height}")
    return "".join([*pieces, f"H{number(steps[-1][1])}"])
