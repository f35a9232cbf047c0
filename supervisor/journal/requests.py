"""`requests/`: commands waiting for the running supervisor, one file each, dropped by rename.

A pause is the file itself: as long as it lies there and no later `resume` came, the run is paused, across restarts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from supervisor.contract import SCHEMA, Json, as_json, parse
from supervisor.journal import durable, sealed

FOLDER_NAME = "requests"


class Action(StrEnum):
    """What can be asked of a running supervisor."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ENQUEUE = "enqueue"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Request:
    """One command. `sequence` orders requests as they were made (nanoseconds of the caller's clock, ties by id)."""

    id: str
    sequence: int
    action: Action
    target: str | None = None
    version: str | None = None
    params: Mapping[str, Json] = field(default_factory=dict)
    seen: str | None = None  # the incumbent when it was asked: a change of it meanwhile makes the wish another one
    schema: int = SCHEMA


def drop(run_dir: Path, request: Request) -> Path:
    """Make the request durable for the supervisor to find."""
    folder = run_dir / FOLDER_NAME
    durable.make_folder(folder)
    path = folder / f"{request.id}.json"
    sealed.write(path, as_json(request))
    return path


def next_sequence(run_dir: Path, now_ns: int) -> int:
    """A place behind all that wait: with a clock set back a `resume` must not go before the `pause` that it answers."""
    return max([now_ns, *(request.sequence + 1 for request in waiting(run_dir)[0])])


def waiting(run_dir: Path) -> tuple[list[Request], list[str]]:
    """Requests in the order they were made, and a sentence for each file that is none (left where it is)."""
    found: list[Request] = []
    problems: list[str] = []
    folder = run_dir / FOLDER_NAME
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            found.append(parse(Request, sealed.read(path)))
        except FileNotFoundError:
            continue  # taken back by its author between listing and reading
        except ValueError as error:
            problems.append(f"{path}: not a request, ignored: {error}")
    return sorted(found, key=lambda request: (request.sequence, request.id)), problems


def done(run_dir: Path, request_id: str) -> None:
    """Remove a consumed request; after this returns it does not come back."""
    folder = run_dir / FOLDER_NAME
    path = folder / f"{request_id}.json"
    if path.exists():
        durable.remove(path)
        durable.sync_folder(folder)
