"""`events.jsonl`: everything that is not an iteration, each with a name and a reason."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from supervisor.contract import Json
from supervisor.journal import durable

EVENTS_NAME = "events.jsonl"
PREVIOUS_NAME = "events.previous.jsonl"
LIMIT_BYTES = 32 * 2**20  # a file of this size becomes the previous one: a run that leaves at once writes without end


class Events:
    """Appends events durably and hands each to `announce` (the console); from any thread. A full disk is no error."""

    def __init__(self, run_dir: Path, now_text: Callable[[], str], announce: Callable[[str], None]) -> None:
        self._path = run_dir / EVENTS_NAME
        self._now_text = now_text
        self._announce = announce
        self._lock = threading.Lock()
        self._begun = False

    def write_once(self, event: str, reason: str, key: str, **details: Json) -> None:
        """For what a restart would tell again: nothing where a line with this `key` stands already."""
        mark = durable.canonical_json({"key": key})[1:-1]
        if not any(mark in line for line in self._whole_lines()):
            self.write(event, reason, key=key, **details)

    def _whole_lines(self) -> Iterator[bytes]:
        for path in (self._path, self._path.with_name(PREVIOUS_NAME)):
            with contextlib.suppress(OSError), path.open("rb") as stream:
                yield from (line for line in stream if line.endswith(b"\n"))

    def write(self, event: str, reason: str, **details: Json) -> None:
        """One line: event, reason, at, and the details. `reason` is a sentence for people."""
        line: dict[str, Json] = {"event": event, "reason": reason, "at": self._now_text(), **details}
        with self._lock:
            self._announce(f"{event}: {reason}")
            try:
                if not self._begun:
                    durable.cut_torn_tail(self._path)
                    self._begun = True
                if durable.append(self._path, durable.canonical_json(line) + b"\n") >= LIMIT_BYTES:
                    os.replace(self._path, self._path.with_name(PREVIOUS_NAME))
            except durable.DiskFullError as error:
                self._announce(f"{event} stands on the console alone: {error}")
