"""`training_log.jsonl`, the truth: one canonical line per iteration; appending it is the commit.

Lines are chained: `chain` hashes the previous chain and this line without `time` and `chain`, so a changed or missing
line is noticed. The file may be truncated, moved, rotated or compressed by its user at any moment; before each append
its identity is compared with what was remembered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from supervisor.contract import Json, as_json, parse
from supervisor.errors import DamagedStateError
from supervisor.journal import durable, log_files
from supervisor.journal.log_files import LogFiles, settled
from supervisor.record import FIRST_CHAIN, Record

LOG_NAME = log_files.LOG_NAME
ITERATION = re.compile(rb'"iteration":(\d+)')  # as canonical JSON spells it
END_BYTES = 1 << 16  # more than a line has
MAKES_A_VERSION = b'"version":"'  # canonical JSON spells it so, or null
GOES_BACK = b'"rollbacks":["'
REMEDY = "restore it from a copy, or move the file aside to go on from the last snapshot"


class LogRewrittenError(Exception):
    """Somebody shortened, replaced or rotated the log since the last append."""


LATER_FIELDS = frozenset({"lesson"})


def chain_of(previous: str, line: dict[str, Json]) -> str:
    """The chain value of a line that follows one with chain `previous`: 32 hex digits of SHA-256.

    What earlier versions of this program had no field for is left out where it says nothing: their lines stay good.
    """
    body = {
        key: value
        for key, value in line.items()
        if key not in ("time", "chain") and not (key in LATER_FIELDS and value is None)
    }
    lesson = body.get("lesson")
    if isinstance(lesson, dict) and lesson.get("store") == "":
        body["lesson"] = {key: value for key, value in lesson.items() if key != "store"}
    return hashlib.sha256(previous.encode() + durable.canonical_json(body)).hexdigest()[:32]


def chained(record: Record, previous: str) -> Record:
    """The record with its chain filled in."""
    return replace(record, chain=chain_of(previous, as_json(record)))


def encode(record: Record) -> bytes:
    return durable.canonical_json(as_json(record)) + b"\n"


@dataclass(frozen=True)
class LogLines:
    """What a folder's log holds: records in order of iteration, and what was odd about it."""

    records: tuple[Record, ...]
    breaks: tuple[int, ...]  # iterations whose chain does not follow from the line before
    torn_first_line: bool = False  # the log was shortened inside its first line, which is left out
    unreadable: tuple[Path, ...] = ()  # compressed rotations that are treated as not there


def read_log(run_dir: Path) -> LogLines:
    """All lines of the folder, rotations too; a torn first or last line is left out, a line twice is taken once, a
    rotation that cannot be unpacked is treated as not there.

    Raises DamagedStateError naming file and line where any other line is no record.
    """
    return settled(run_dir, _read_log)


def _read_log(paths: Sequence[Path]) -> LogLines:
    files = LogFiles(paths)
    chains = _Chains()
    records: dict[int, Record] = {}
    for path, number, text in files.lines():
        line = decode_line(path, number, text)
        record = _record(path, number, line)
        chains.add(record, line, records)
        records[record.iteration] = record
    ordered = tuple(records[iteration] for iteration in sorted(records))
    return LogLines(ordered, tuple(chains.breaks(records)), files.torn_first_line, tuple(files.unreadable))


def read_latest(run_dir: Path, after: int, count: int) -> tuple[Record, ...]:
    """The records of iterations behind `after`, and at least the last `count` of the log, in order of iteration.

    For readers that look again and again: older lines are passed over undecoded, and older files left closed where the
    newer ones hold everything. Raises DamagedStateError.
    """
    return settled(run_dir, lambda paths: _read_latest(paths, after, count))


def _read_latest(paths: Sequence[Path], after: int, count: int) -> tuple[Record, ...]:
    found: dict[int, Record] = {}
    for path in reversed(paths):
        wanted: dict[int, bytes] = {}
        recent: deque[tuple[int, bytes]] = deque(maxlen=count)
        for _, number, text in LogFiles([path]).lines():
            recent.append((number, text))
            if highest_iteration(text) > after:
                wanted[number] = text
        here = [record_of(path, number, text) for number, text in {**wanted, **dict(recent)}.items()]
        found = {record.iteration: record for record in here} | found
        newer = [iteration for iteration in found if iteration > after]
        if len(found) >= count and len(newer) == max(newer, default=after) - after:
            break
    return tuple(found[iteration] for iteration in sorted(found))


def version_records(run_dir: Path) -> Iterator[Record]:
    """The records that make a version or go back from one, in the order of the files; no other line is decoded.

    For readers beside the supervisor: weeks of lines take them milliseconds. Raises DamagedStateError.
    """
    yield from settled(run_dir, lambda paths: list(_version_records(paths)))


def _version_records(paths: Sequence[Path]) -> Iterator[Record]:
    for path, number, text in LogFiles(paths).lines():
        if MAKES_A_VERSION in text or GOES_BACK in text:
            record = record_of(path, number, text)
            if record.made_version is not None or record.rollbacks:
                yield record


def highest_iteration(text: bytes) -> int:
    """At least the line's iteration (a nested value may be spelled the same); beyond any where there is none."""
    return max((int(digits) for digits in ITERATION.findall(text)), default=sys.maxsize)


class _Chains:
    """Checks each line against the one before while lines stream by; keeps only bodies that it cannot judge yet."""

    def __init__(self) -> None:
        self._follows: dict[int, str] = {}  # iteration to the chain that its line is proven to follow
        self._open: dict[int, dict[str, Json]] = {}

    def add(self, record: Record, line: dict[str, Json], known: Mapping[int, Record]) -> None:
        self._follows.pop(record.iteration, None)
        self._open.pop(record.iteration, None)
        before = _chain_before(record, known)
        if before is not None and chain_of(before, line) == record.chain:
            self._follows[record.iteration] = before
        else:
            self._open[record.iteration] = line

    def breaks(self, records: Mapping[int, Record]) -> Iterator[int]:
        """Iterations whose line does not follow; the first line behind a gap gives its chain on trust."""
        for iteration in sorted(records):
            before = _chain_before(records[iteration], records)
            if before is None or self._follows.get(iteration) == before:
                continue
            line = self._open.get(iteration)
            if line is None or chain_of(before, line) != records[iteration].chain:
                yield iteration


def _chain_before(record: Record, known: Mapping[int, Record]) -> str | None:
    if record.iteration == 1:
        return FIRST_CHAIN
    previous = known.get(record.iteration - 1)
    return previous.chain if previous else None


def decode_line(path: Path, number: int, text: bytes) -> dict[str, Json]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedStateError(f"{path}:{number}: not a JSON line ({error}); {REMEDY}") from error
    if not isinstance(line, dict):
        raise DamagedStateError(f"{path}:{number}: a line must be a JSON object; {REMEDY}")
    return line


def record_of(path: Path, number: int, text: bytes) -> Record:
    """The record of a line. Raises DamagedStateError naming file and line where it is none."""
    return _record(path, number, decode_line(path, number, text))


def _record(path: Path, number: int, line: dict[str, Json]) -> Record:
    try:
        return parse(Record, line)
    except ValueError as error:
        raise DamagedStateError(f"{path}:{number}: not a line of this program: {error}; {REMEDY}") from error


def cut_torn_tail(run_dir: Path) -> int:
    """Cut an unfinished last line off, durably; the number of bytes cut."""
    return durable.cut_torn_tail(run_dir / LOG_NAME)


class _Seen(NamedTuple):
    """What a file looked like: enough to notice that somebody else wrote, replaced or shortened it."""

    inode: int
    size: int
    last_line: bytes


NOT_OURS = _Seen(-1, -1, b"")  # no file looks like it


class Log:
    """The append side. It remembers what the file looked like after the last append."""

    def __init__(self, run_dir: Path, last_chain: str) -> None:
        self.path = run_dir / LOG_NAME
        self.last_chain = last_chain
        self._left = self._look()

    def _look(self) -> _Seen | None:
        try:
            with self.path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                stream.seek(max(0, status.st_size - END_BYTES))
                end = stream.read()
        except FileNotFoundError:
            return None
        return _Seen(status.st_ino, status.st_size, end[end.rfind(b"\n", 0, -1) + 1 :])

    def commit(self, record: Record) -> Record:
        """Append the line with its chain and fsync: the commit. The record as it stands in the file.

        Raises LogRewrittenError, with nothing written, when the file is not the one this object left behind.
        """
        if self._look() != self._left:
            raise LogRewrittenError
        line = chained(record, self.last_chain)
        self._append(encode(line), self._left)
        self.last_chain = line.chain
        return line

    def restore(self, records: Iterable[Record]) -> None:
        """Append lines again that were committed and then removed by somebody; accept the file as it is, less a line
        that it was cut in.

        Until everything is written the file counts as somebody else's: a `commit` then raises LogRewrittenError.
        """
        self._left = NOT_OURS
        cut_torn_tail(self.path.parent)
        found = self._look()
        missing = b"".join(encode(record) for record in records)
        if missing:
            self._append(missing, found)
        else:
            self._left = found

    def _append(self, data: bytes, found: _Seen | None) -> None:
        """To the file that looked like this."""
        try:
            durable.append(self.path, data, expected_size=found.size if found else 0)
        except ValueError as error:
            raise LogRewrittenError from error
        self._left = self._look()
