"""`events.jsonl`: everything that is not an iteration, each with a name and a reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from supervisor.contract import Json
from supervisor.journal import durable

EVENTS_NAME = "events.jsonl"


class Events:
    """Appends events durably and hands each to `announce` (the console); from any thread. A full disk is no error."""

    def __init__(self, run_dir: Path, now_text: Callable[[], str], announce: Callable[[str], None]) -> None:
        self._path = run_dir / EVENTS_NAME
        self._now_text = now_text
        self._announce = announce
        self._lock = threading.Lock()

    def write(self, event: str, reason: str, **details: Json) -> None:
        """One line: event, reason, at, and the details. `reason` is a sentence for people."""
        line: dict[str, Json] = {"event": event, "reason": reason, "at": self._now_text(), **details}
        with self._lock:
            self._announce(f"{event}: {reason}")
            try:
                durable.append(self._path, durable.canonical_json(line) + b"\n")
            except durable.DiskFullError as error:
                self._announce(f"{event} stands on the console alone: {error}")
