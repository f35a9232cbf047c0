"""How many different experiences lessons were of: one that was of no use is repeated with what came since. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.experience.store import BEGINNING, Position
from supervisor.lesson import Lesson


@dataclass(frozen=True)
class _Part:
    """The experiences after a position, up to where the next part begins."""

    after: Position
    rows: int


@dataclass(frozen=True)
class Learnt:
    """What the lessons so far were of, in parts that do not overlap."""

    parts: tuple[_Part, ...] = ()

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def with_lesson(self, lesson: Lesson) -> Learnt:
        """A lesson reaches further than those before it, so it holds again all that began where it begins, or later."""
        after = _position(lesson.after)
        return Learnt((*(part for part in self.parts if part.after < after), _Part(after, lesson.rows)))


def _position(text: str) -> Position:
    """Whatever a person made of a line, a report does not fail at it."""
    try:
        return Position.parse(text)
    except ValueError:
        return BEGINNING
