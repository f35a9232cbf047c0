"""Where things stand in a picture of a course, in its own units, which are pixels at full width. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisor.reporting.axes import Span
from supervisor.reporting.course import COLUMNS

LEFT, RIGHT = 52, 128  # of the curve: room for the axis, and for what is in production now
LABEL_ROWS, LABEL_HEIGHT = 3, 14
TOP = 8 + LABEL_ROWS * LABEL_HEIGHT + 8
HEIGHT = 220  # of the curve, from 0 to 100 %
BOTTOM = 58  # for the axis and the key
TOTAL_WIDTH, TOTAL_HEIGHT = LEFT + COLUMNS + RIGHT, TOP + HEIGHT + BOTTOM
CHARACTER_WIDTH = 6.6  # of a label, at most
LABEL_GAP = 8


@dataclass(frozen=True)
class Frame:
    """The picture of a span of time."""

    span: Span

    def x(self, at_s: float) -> float:
        return LEFT + COLUMNS * (at_s - self.span.start_s) / self.span.length_s

    @staticmethod
    def y(rate: float) -> float:
        return TOP + HEIGHT * (1 - rate)


@dataclass(frozen=True)
class Label:
    """`x` is the middle of what it names, `left` where its text begins; row 0 is the lowest."""

    text: str
    x: float
    left: float
    row: int


def placed(wanted: Iterable[tuple[float, str]], until: float = TOTAL_WIDTH) -> Iterator[Label]:
    """The labels, by x, each in the lowest row where it overlaps none before it; what finds no room is left out."""
    ends = [float("-inf")] * LABEL_ROWS
    for x, text in wanted:
        width = CHARACTER_WIDTH * len(text)
        left = min(max(x - width / 2, 0), until - width)
        row = next((row for row, end in enumerate(ends) if end + LABEL_GAP <= left), None)
        if row is not None:
            ends[row] = left + width
            yield Label(text, x, left, row)


def number(value: float) -> str:
    """As short as a tenth of a pixel allows."""
    return f"{value:.1f}".removesuffix(".0")
