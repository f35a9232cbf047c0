"""A lesson: the experiences that one trial of the continuous cycle learns from. A fact, made durable before it runs."""

from __future__ import annotations

from dataclasses import dataclass

LESSON_FACT = "lesson"
BEGUN_IN = "begun_in"
"""Of a lesson that was put off, in its fact: the iteration in which its training began."""
CONTINUOUS = "continuous"
"""Sampler and purpose of the iterations that learn from play."""


@dataclass(frozen=True)
class Lesson:
    """Of a target's experiences those after `after` and not after `upto` are new to the version that goes on from them;
    those after `since`, up to `after`, it knows, and draws from again. Positions are as the store writes them."""

    target: str
    cycle: int
    since: str
    after: str
    upto: str
    rows: int  # new ones
    old_rows: int  # those from before
    width: int  # numbers of a state
    version: str  # that goes on from them: the incumbent when they were looked at
    since_us: int  # older experiences are left out; microseconds since 1970
    min_priority: float = 0.0
    store: str = ""  # whose positions they are; empty where it does not say

    @property
    def reached(self) -> str:
        """How far it went, and in which store."""
        return f"{self.upto}@{self.store}" if self.store else self.upto


def position_in(store: str, reached: str) -> str:
    """How far that is in a store, as the store writes it: empty where it was in another one. Where one of the two does
    not say which it is, it is taken for the same."""
    position, _, of = reached.partition("@")
    return position if not of or not store or of == store else ""
