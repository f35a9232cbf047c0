"""`incumbent report`: what a run came to, target by target, out of its log; never in the way of the run."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.clock import Clock, unix_s
from supervisor.commands.scoretable import columns
from supervisor.config.mistakes import suggest
from supervisor.contract import Json
from supervisor.errors import DamagedStateError, UsageError
from supervisor.journal import durable
from supervisor.journal.identity import load_identity
from supervisor.journal.log_scan import walk_log
from supervisor.record import Record
from supervisor.reporting.axes import moment_text
from supervisor.reporting.course import Course, courses
from supervisor.reporting.figures import TITLES, as_object, cells
from supervisor.reporting.page import Heading, page
from supervisor.reporting.since import moment


@dataclass(frozen=True)
class ReportOptions:
    """What the command line says. No targets are all; `html` is the file to write."""

    run_dir: Path
    targets: Sequence[str]
    html: Path | None
    since: str | None
    as_json: bool


def report(options: ReportOptions, clock: Clock) -> int:
    """A table, an object of JSON, or a file. Raises UsageError naming what there is instead."""
    identity = load_identity(options.run_dir) if options.run_dir.is_dir() else None
    if identity is None:
        raise UsageError(f"{options.run_dir} holds no run; start one (tools/start_training.sh) or give its --run-dir")
    since_s = _since(options.since, clock)
    heading = Heading(identity.run_id, identity.seed, since_s)
    found = _found(options, heading)
    if options.html is not None:
        _write(options.html, page(heading, found))
        said = f"{len(found)} targets -> {options.html}; open it in a browser"
        typer.echo(said, err=options.as_json)
    if options.as_json:
        typer.echo(json.dumps(_object(options.run_dir, heading, found), indent=2))
    elif options.html is None:
        typer.echo(_table(heading, found))
    return 0


def _since(text: str | None, clock: Clock) -> float | None:
    if text is None:
        return None
    try:
        return moment(text, unix_s(clock.now_text()) or 0.0)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--since {text}: give 90m, 24h, 7d or 2w, or a time such as 2026-11-22T09:30") from error


def _found(options: ReportOptions, heading: Heading) -> tuple[Course, ...]:
    """The courses of the chosen targets. Raises UsageError for a name that fits none, DamagedStateError as a start
    would."""
    known: set[str] = set()

    def wanted(target: str) -> bool:
        known.add(target)
        return not options.targets or any(fnmatch.fnmatchcase(target, pattern) for pattern in options.targets)

    found = walk_log(
        options.run_dir,
        lambda records: courses(_of_the_run(records, options.run_dir, heading.run_id), wanted, heading.since_s),
    )
    missing = [pattern for pattern in options.targets if not any(fnmatch.fnmatchcase(key, pattern) for key in known)]
    if missing and known:
        names = sorted(known)
        problems = [f"{name!r}: the log has no such target; {suggest(name, names)}" for name in missing]
        raise UsageError("\n".join(problems))
    return found


def _of_the_run(records: Iterator[Record], run_dir: Path, run_id: str) -> Iterator[Record]:
    for record in records:
        if record.run_id != run_id:
            raise DamagedStateError(
                f"{run_dir}: the log's line of iteration {record.iteration} belongs to run {record.run_id}, and this is"
                f" run {run_id}; give each run a folder of its own"
            )
        yield record


def _write(path: Path, text: str) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    try:
        durable.write_atomic(path, text.encode())
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise UsageError(f"{path}: {error.strerror}; name a file in a folder that can be written to") from error


def _table(heading: Heading, found: Sequence[Course]) -> str:
    if not found:
        since = "" if heading.since_s is None else f" since {moment_text(heading.since_s)} UTC"
        return f"run {heading.run_id}: no iteration{since}"
    return columns([TITLES, *(cells(course) for course in found)])


def _object(run_dir: Path, heading: Heading, found: Sequence[Course]) -> dict[str, Json]:
    return {
        "run_dir": str(run_dir),
        "run_id": heading.run_id,
        "seed": heading.seed,
        "since": None if heading.since_s is None else f"{moment_text(heading.since_s)}Z".replace(" ", "T"),
        "targets": {course.target: as_object(course) for course in found},
    }
