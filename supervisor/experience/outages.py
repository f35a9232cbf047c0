"""Outages of the store as a trial meets them: lines in its folder, of which the supervisor makes events."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from supervisor.contract import Json
from supervisor.journal import sealed
from supervisor.journal.durable import DiskFullError

OUTAGES_NAME = "outages.jsonl"


class Outages:
    """Of one trial, whose processes come and go: an outage that one of them met may be over for the next. A full disk
    keeps a line out, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / OUTAGES_NAME
        known = self.lines()
        self._silent = bool(known and known[-1])

    def lines(self) -> Sequence[str]:
        """Why the store fell silent, or nothing where it answered again, in turn."""
        return sealed.read_lines(self._path, _told).whole

    def silent(self, why: str) -> None:
        if not self._silent:
            self._silent = True
            self._append({"silent": why or "no answer"})

    def answers(self) -> None:
        if self._silent:
            self._silent = False
            self._append({"silent": ""})

    def _append(self, line: dict[str, Json]) -> None:
        with contextlib.suppress(DiskFullError):
            sealed.append_line(self._path, line)


def _told(line: dict[str, Json]) -> str:
    """Raises ValueError for a line that is none of ours."""
    told = line.get("silent")
    if not isinstance(told, str):
        raise ValueError("it tells of no outage")  # noqa: TRY004 - one kind of error for every kind of damage
    return told
