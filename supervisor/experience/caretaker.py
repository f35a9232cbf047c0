"""What a store offers to whoever looks after it: how much there is, what is wrong, and removing what is old.

Beside `ExperienceStore`, which writers and readers know; one retention works at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from supervisor.errors import TryAgainError
from supervisor.experience.finding import Finding
from supervisor.experience.rows import MICROSECONDS, Experiences
from supervisor.experience.store import Position

HOUR_US = 3600 * MICROSECONDS
DAY_US = 24 * HOUR_US


@dataclass(frozen=True)
class Overview:
    """Beyond what `ExperienceStore.stats` tells. By target: rows of the last hour, and bytes that its rows hold."""

    bytes: int  # of the whole store, with its indexes
    rows_last_hour: Mapping[str, int]
    target_bytes: Mapping[str, int]
    quarantine: Mapping[str, int]  # rows by reason


@dataclass(frozen=True)
class Day:
    """Rows of one day (UTC), which begins at `begin_us`."""

    begin_us: int
    rows: int


@dataclass(frozen=True)
class Span:
    """A target's rows of a stretch of time, the first microsecond in it and the last not, up to a position. Rows come
    to be after every position told, so what a span holds can only become less."""

    target: str
    since_us: int
    before_us: int
    upto: Position


class BusyError(TryAgainError):
    """Another retention is at work."""


class Caretaker(Protocol):
    """One connection's; not for several threads at once. Every method raises StoreDownError."""

    def overview(self, now_us: int) -> Overview: ...

    def findings(self, now_us: int) -> list[Finding]:
        """What is worth telling, with the cure."""

    def days(self, target: str, before_us: int, upto: Position) -> list[Day]:
        """The days whose rows are all older, as far as rows stand not after `upto`; the first one first."""

    def read(self, span: Span) -> Iterator[Experiences]:
        """Its rows in order, a few thousand at a time, each block of one width."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep others from removing rows of the store meanwhile, from whatever folder. Raises BusyError where one does
        already."""

    def remove(self, span: Span, batch_rows: int, reading_since_us: int) -> Iterator[int]:
        """Its rows in order, so many in a transaction at most; the number of each transaction that is durable. Nothing
        is removed but by taking the next one.

        It ends before rows that a reader has still to read who was seen since then: nobody can note a place between
        that look and the removal."""

    def forget(self, before_us: int, batch_rows: int) -> Iterator[int]:
        """The same for names of parcels and rows in quarantine."""

    def forget_parcels(self, client: str, prefix: str) -> None:
        """The names of a client's parcels that begin so: what they brought may be brought again."""


def blocks_of_one_width(widths: Sequence[object]) -> list[slice]:
    """Where neighbours of equal width begin and end, given each row's."""
    edges = [0, *[k for k in range(1, len(widths)) if widths[k] != widths[k - 1]], len(widths)]
    return [slice(begin, end) for begin, end in itertools.pairwise(edges) if begin < end]
