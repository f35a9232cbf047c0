"""`requests/`: commands waiting for the running supervisor, one file each, dropped by rename.

A pause is the file itself: as long as it lies there and no later `resume` came, the run is paused, across restarts too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from supervisor.contract import SCHEMA, Json, as_json, parse
from supervisor.journal import durable, sealed

FOLDER_NAME = "requests"
RIGHTS = "give the user that the supervisor runs as the right to read and write there (ls -la)"


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
    """Requests in the order they were made, and a sentence for each file that is none or cannot be read (left where it
    is)."""
    found: list[Request] = []
    problems: list[str] = []
    folder = run_dir / FOLDER_NAME
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as error:
        names = []
        problems.append(f"{folder}: {error.strerror}: no request in it is seen; {RIGHTS}")
    for path in (folder / name for name in names if name.endswith(".json")):
        try:
            found.append(_read(path))
        except FileNotFoundError:
            continue  # taken back by its author between listing and reading
        except ValueError as error:
            problems.append(f"{path}: not a request, ignored: {error}")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}: this request is ignored; {RIGHTS}, or remove it")
    return sorted(found, key=lambda request: (request.sequence, request.id)), problems


def _read(path: Path) -> Request:
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise ValueError("no file")  # a pipe would be waited for
    request = parse(Request, sealed.read(path))
    if request.id != path.stem:
        raise ValueError("its name is not its id")  # a copy would be carried out again and again
    return request


def why_stuck(run_dir: Path, request_id: str) -> str:
    """Why this process could not remove the request, a sentence; empty where it can. What cannot be removed must not be
    carried out: it would be so again and again."""
    folder = run_dir / FOLDER_NAME
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return f"{folder}: this process may not remove files in it, so no request there is carried out; {RIGHTS}"
    path, of_folder = folder / f"{request_id}.json", folder.stat()
    if of_folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, of_folder.st_uid, path.stat().st_uid):
        return f"{path}: only its owner may remove it, so it is not carried out; {RIGHTS} without the sticky bit"
    return ""


def done(run_dir: Path, request_id: str) -> None:
    """Remove a consumed request; after this returns it does not come back."""
    folder = run_dir / FOLDER_NAME
    path = folder / f"{request_id}.json"
    if path.exists():
        durable.remove(path)
        durable.sync_folder(folder)
