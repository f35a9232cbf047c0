"""Which files the cold tier has, and whose rows may still be in the store: a line for each thing that became durable.

`written`: the file is whole; its rows may leave the store. `removed`: they have. `abandoned`: the store's rows are not
those of the file, they stay. `dropped`: the file was older than the retention.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from supervisor.errors import DamagedStateError
from supervisor.experience.caretaker import Span
from supervisor.experience.store import Position
from supervisor.journal import durable

NAME = "manifest.jsonl"


class Event(StrEnum):
    WRITTEN = "written"
    REMOVED = "removed"
    ABANDONED = "abandoned"
    DROPPED = "dropped"


@dataclass(frozen=True)
class ColdFile:
    """`file` is its name within the folder, `span` where its rows stood in the store."""

    file: str
    span: Span
    rows: int
    sha256: str
    event: Event = Event.WRITTEN


class Manifest:
    """The folder's files by name, as its lines tell."""

    def __init__(self, folder: Path) -> None:
        """Raises DamagedStateError where a line is none of these."""
        self._path = folder / NAME
        self._files: dict[str, ColdFile] = {}
        if not self._path.exists():
            return
        for number, line in enumerate(self._path.read_bytes().splitlines(keepends=True), start=1):
            if line.endswith(b"\n"):
                self._take(line, number)

    @property
    def files(self) -> list[ColdFile]:
        """Those that are there."""
        return [file for file in self._files.values() if file.event is not Event.DROPPED]

    def unfinished(self) -> Iterator[ColdFile]:
        """Whose rows may still be in the store."""
        yield from [file for file in self._files.values() if file.event is Event.WRITTEN]

    def free_name(self, target: str, day: str) -> str:
        """For a file that is not there yet; a day whose rows came in parts has several."""
        names = [f"{target}/{day}.parquet", *(f"{target}/{day}.{part}.parquet" for part in range(2, 10_000))]
        return next(name for name in names if name not in self._files)

    def note(self, file: ColdFile, event: Event) -> None:
        """Make it durable."""
        body: dict[str, object] = {"event": event.value, "file": file.file}
        if event is Event.WRITTEN:
            span = file.span
            body |= {"target": span.target, "since_us": span.since_us, "before_us": span.before_us}
            body |= {"upto": str(span.upto), "rows": file.rows, "sha256": file.sha256}
        durable.cut_torn_tail(self._path)
        durable.append(self._path, durable.canonical_json(body) + b"\n")
        self._files[file.file] = replace(file, event=event)

    def _take(self, line: bytes, number: int) -> None:
        try:
            body = json.loads(line)
            event, name = Event(body["event"]), str(body["file"])
            if event is Event.WRITTEN:
                span = Span(body["target"], body["since_us"], body["before_us"], Position.parse(body["upto"]))
                self._files[name] = ColdFile(name, span, body["rows"], body["sha256"])
            else:
                self._files[name] = replace(self._files[name], event=event)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStateError(
                f"{self._path}: line {number} is damaged ({error}); take the line out, and import the file it named"
            ) from error
