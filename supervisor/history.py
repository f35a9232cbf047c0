"""What has to be known of lines that are long committed: read from the log when somebody asks, and kept small."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from supervisor.contract import Json
from supervisor.journal import durable
from supervisor.record import Record
from supervisor.search.observation import Observation

IDLE_LINES = 8  # of a target, without anybody asking, after which its history is dropped

Reader = Callable[[bytes], Iterable[Record]]
"""The log's records whose line holds these bytes, in order of iteration; it may give more of them."""


@dataclass
class _Seen:
    """A target's lines; all that the log holds where `limit` is None, else the newest."""

    lines: list[Observation]
    limit: int | None
    idle: int = 0  # lines added since somebody asked


class History:
    """What samplers may learn from, target by target, as far as the log holds it."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._seen: dict[str, _Seen] = {}

    def of(self, target: str, limit: int | None, newest: Iterable[Record] = ()) -> list[Observation]:
        """The target's lines in order, at least the last `limit` of them, None for all; `newest` are there whatever
        somebody did to the log meanwhile."""
        seen = self._seen.get(target)
        if seen is None or (seen.limit is not None and (limit is None or limit > seen.limit)):
            found = deque[Observation](self._from_log(target, newest), maxlen=limit)
            seen = self._seen[target] = _Seen(list(found), limit)
        seen.idle = 0
        return seen.lines

    def add(self, record: Record) -> None:
        seen = self._seen.get(record.target)
        if seen is None:
            return
        seen.lines.append(Observation.of(record))
        seen.idle += 1
        if seen.idle > IDLE_LINES:
            del self._seen[record.target]
        elif seen.limit is not None and len(seen.lines) > 2 * seen.limit:
            del seen.lines[: -seen.limit]

    def forget(self) -> None:
        """The log was rewritten: what it holds now is read again."""
        self._seen.clear()

    def _from_log(self, target: str, newest: Iterable[Record]) -> Iterator[Observation]:
        held = {record.iteration: record for record in newest if record.target == target}
        for record in self._read(_spelled("target", target)):
            if record.target == target and record.iteration not in held:
                yield Observation.of(record)
        yield from map(Observation.of, held.values())


@dataclass(frozen=True, slots=True)
class Usage:
    """What a line says about the GPU."""

    target: str
    time: dict[str, Json]


class Daily:
    """The lines that ended on one day."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._day = ""
        self._lines: list[Usage] = []

    def on(self, day: str, newest: Iterable[Record] = ()) -> Sequence[Usage]:
        """`day` as 2000-01-01."""
        if day != self._day:
            lines = [*self._read(_spelled("finished_at", day)[:-1]), *newest]
            found = {record.iteration: record for record in lines}
            self._day, self._lines = day, []
            for iteration in sorted(found):
                self.add(found[iteration])
        return self._lines

    def add(self, record: Record) -> None:
        if self._day and str(record.time.get("finished_at", "")).startswith(self._day):
            kept = {name: record.time[name] for name in ("finished_at", "gpu_seconds") if name in record.time}
            self._lines.append(Usage(record.target, kept))

    def forget(self) -> None:
        self._day = ""


class Lazily(Sequence[Observation]):
    """A history that is not read before a sampler looks at it, which most never do, nor further back than it looks."""

    def __init__(self, load: Callable[[int | None], Sequence[Observation]]) -> None:
        """`load` gives at least that many of the newest lines, None for all."""
        self._load = load

    def __len__(self) -> int:
        return len(self._load(None))

    def __iter__(self) -> Iterator[Observation]:
        return iter(self._load(None))

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Observation]: ...
    def __getitem__(self, index: int | slice) -> Observation | Sequence[Observation]:
        if isinstance(index, slice) and index.stop is None and index.start is not None and index.start < 0:
            return self._load(-index.start)[index]
        return self._load(None)[index]


def _spelled(name: str, value: str) -> bytes:
    """As a line spells the field."""
    return durable.canonical_json({name: value})[1:-1]
