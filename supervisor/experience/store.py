"""What an experience store does. PostgreSQL and SQLite do it; whoever writes or reads knows this file alone.

A row's position says where it stands in the order of the store. New rows only ever come after every position that
`newest` has told, however late their transactions commit: whoever reads from one position to the next loses nothing
and gets nothing twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from supervisor.errors import IncumbentError, StorageUnreachableError
from supervisor.experience.rows import Experiences

BATCH_ROWS = 256


class Position(NamedTuple):
    """Where a row stands: its transaction's number (0 in SQLite, which commits one after the other), then its id.
    Positions compare as they are ordered."""

    txid: int
    id: int

    def __str__(self) -> str:
        return f"{self.txid}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Back from `str`. Raises ValueError."""
        txid, _, row = text.partition(":")
        return cls(int(txid), int(row))


BEGINNING = Position(0, 0)
"""Before every row."""


@dataclass(frozen=True)
class Selection:
    """Which rows are read: those of a target, of at least so high a priority, from a time on (microseconds), with
    states of so many numbers. Without a width all rows must be of one, or reading raises ValueError."""

    target: str
    min_priority: float = 0.0
    since_us: int | None = None
    width: int | None = None

    @property
    def archetype(self) -> str:
        return self.target.split("/", 1)[0]

    @property
    def model_type(self) -> str:
        return self.target.split("/", 1)[1]


@dataclass(frozen=True)
class Page:
    """Some rows in order, and the position of the last of them, from which the next page goes on."""

    rows: Experiences
    last: Position


@dataclass(frozen=True)
class Refused:
    """A row that is no experience: kept with the reason in the quarantine, so that it is never lost silently."""

    target: str  # as it was given
    reason: str  # a code of `refusals`
    detail: str  # for people
    row: str  # what was given, as JSON, cut at a few kilobytes


@dataclass(frozen=True)
class Parcel:
    """What one writer hands over at once. Stored whole or not at all.

    `client` and `key` name it: a parcel that comes again under the same name, because its answer was lost, is not
    stored a second time. Without a key there is no such protection.
    """

    experiences: Sequence[tuple[str, Experiences]]  # by target
    refused: Sequence[Refused] = ()
    client: str = ""
    key: str = ""

    @property
    def rows(self) -> int:
        return sum(len(rows) for _, rows in self.experiences)


@dataclass(frozen=True)
class Stored:
    """What became of a parcel: durable now, or already then. The numbers are those of the first time."""

    rows: int
    quarantined: int
    repeated: bool = False


@dataclass(frozen=True)
class TargetStats:
    """A target's rows. Times are microseconds since 1970."""

    target: str
    rows: int
    oldest_us: int
    newest_us: int
    newest: Position


@dataclass(frozen=True)
class Reader:
    """Somebody who reads a target's rows, and how far: nothing after `position` is removed before it has been read."""

    name: str
    target: str
    position: Position
    seen_us: int


class StoreDownError(StorageUnreachableError):
    """The database does not answer, or answers that it cannot now: what was asked may be asked again."""


class NotInitialisedError(IncumbentError):
    """The database has no store: `incumbent store init` makes one."""

    exit_code = 2


class ExperienceStore(Protocol):
    """One connection's view of the store; not for several threads at once. Every method raises StoreDownError."""

    @property
    def identity(self) -> str:
        """Which store it is: a position is of one store. Empty where a table of somebody else has none."""

    def write(self, parcels: Sequence[Parcel]) -> list[Stored]:
        """All of them in one transaction, durable on return."""

    def newest(self, selection: Selection) -> Position | None:
        """The last row that nothing can any more come before; None where there is none."""

    def nth(self, selection: Selection, after: Position, upto: Position, number: int) -> Position | None:
        """The position of the `number`-th row (from 1) after `after` and not after `upto`, in order; with a negative
        one of the `-number`-th from the end. None where there are fewer."""

    def count(self, selection: Selection, after: Position, upto: Position, at_most: int | None = None) -> int:
        """Rows after `after` and not after `upto`; it stops counting at `at_most`."""

    def stream(
        self, selection: Selection, after: Position, upto: Position, batch_rows: int = BATCH_ROWS
    ) -> Iterator[Page]:
        """Those rows in order, in pages of exactly `batch_rows` but for the last. Memory does not grow with them."""

    def stats(self) -> list[TargetStats]:
        """Of every target that has rows, by name."""

    def note_reader(self, reader: Reader) -> None:
        """Say how far somebody has read; a reader's name and target are its key."""

    def readers(self) -> list[Reader]: ...

    def close(self) -> None: ...


class AsyncReading(Protocol):
    """The same stream for programs with an event loop."""

    def stream(
        self, selection: Selection, after: Position, upto: Position, batch_rows: int = BATCH_ROWS
    ) -> AsyncIterator[Page]: ...
