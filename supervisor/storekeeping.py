"""The retention that a run has done once a day, in a process of its own: what pyarrow takes of memory goes with it.

It is told everything in its one argument, the store's address alone in its environment, and says in one line what came
of it. It may be killed at any instant: the next one finishes what it began.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from supervisor.contract import as_json, parse
from supervisor.errors import IncumbentError, UsageError
from supervisor.execution import linux
from supervisor.experience.caretaker import DAY_US, BusyError
from supervisor.experience.keeping.retention import FOLDER, Kept, Retention
from supervisor.experience.keeping.rules import Ages
from supervisor.experience.opening import URL_VARIABLE, caretaker_of, open_if_there
from supervisor.experience.store import ExperienceStore, NotInitialisedError, Position, Reader
from supervisor.journal import durable, sealed

NOTE_NAME = "retention.json"
NICENESS = 10
STATEMENT_S = 3600.0
"""Counting the days of months of rows takes long, and nobody waits for it."""


@dataclass(frozen=True)
class Duty:
    """`reading` tells by target from where on lessons read that wait or run: `reader` is noted there again before
    anything is removed, for what it noted when they were looked at may be older than the oldest that is waited for."""

    run_dir: str
    retention_days: int
    cold_days: int
    now_us: int
    reader: str
    reading: Mapping[str, str]


class Ending(StrEnum):
    DONE = "done"
    LATER = "later"
    """It passes by itself; it is soon tried again."""
    REFUSED = "refused"
    """Only the operator can change that, and need not; it is tried again the next day."""


@dataclass(frozen=True)
class Told:
    """`reason` is for people, and empty where there is nothing to tell."""

    ending: Ending
    reason: str = ""
    kept: Kept = field(default_factory=Kept)


@dataclass(frozen=True)
class Note:
    """`retention.json` beside the files: when the last one was done."""

    done_us: int


def is_due(run_dir: Path, now_us: int) -> bool:
    """A day after the last one; a clock that was put back makes it due too."""
    try:
        done_us = parse(Note, sealed.read(_note_path(run_dir))).done_us
    except (OSError, ValueError):
        return True
    return not 0 <= now_us - done_us < DAY_US


def done(duty: Duty) -> Told:
    """Do it, and note it where that had an end."""
    try:
        store = open_if_there(os.environ.get(URL_VARIABLE) or None, Path(duty.run_dir), statement_s=STATEMENT_S)
        if store is None:
            return Told(Ending.DONE)
        try:
            kept = _kept(duty, store)
        finally:
            store.close()
        sealed.write(_note_path(Path(duty.run_dir)), as_json(Note(duty.now_us)))
    except BusyError:
        return Told(Ending.LATER)
    except NotInitialisedError as error:
        return Told(Ending.LATER, str(error))
    except UsageError as error:
        return Told(Ending.REFUSED, str(error))
    except (IncumbentError, OSError) as error:
        return Told(Ending.LATER, str(error))
    moved = kept.cold_rows or kept.gone_rows or kept.dropped_files
    said = [kept.said(FOLDER), *kept.notes] if moved or kept.notes else []
    return Told(Ending.DONE, "; ".join(said), kept)


def _kept(duty: Duty, store: ExperienceStore) -> Kept:
    for target, since in sorted(duty.reading.items()):
        store.note_reader(Reader(duty.reader, target, Position.parse(since), duty.now_us))
    ages = Ages(duty.retention_days, duty.cold_days)
    return Retention(store, caretaker_of(store), Path(duty.run_dir) / FOLDER, ages).run(duty.now_us)


def _note_path(run_dir: Path) -> Path:
    return run_dir / FOLDER / NOTE_NAME


def main(arguments: list[str]) -> int:
    """In the process. `arguments` are the duty and who asked for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; who asked for this ends it
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(arguments[1]):
        return 1
    os.nice(NICENESS)
    told = done(parse(Duty, json.loads(arguments[0])))
    sys.stdout.buffer.write(durable.canonical_json(as_json(told)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
