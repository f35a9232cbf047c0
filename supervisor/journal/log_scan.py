"""A look over the whole log, however long it is, that keeps its latest lines alone.

A line that follows from the one before is what was committed, byte for byte; its chain proves it in microseconds. Only
others are decoded.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from supervisor.journal.log import LogLines, chain_of, decode_line, read_log, record_of
from supervisor.journal.log_files import LogFiles, settled
from supervisor.record import FIRST_CHAIN, Record

# As canonical JSON spells a line's own fields; a line that is spelled otherwise is decoded.
CHAIN = re.compile(rb'"chain":"([0-9a-f]{32})",')
ITERATION = re.compile(rb'"iteration":(\d+),"le(?:sson|vel)":')  # lines of before lessons have none
NO_LESSON = b'"lesson":null,'
RUN_ID = re.compile(rb'"run_id":"([^"\\]*)"')
TIME, BEHIND_TIME = b',"time":{', b'},"trial":'

T = TypeVar("T")


@dataclass(frozen=True)
class Scan:
    """What the log holds. `records` are those behind the iteration that was asked for, and at least the latest ones."""

    first: int | None  # iteration of the first line, None of an empty log
    last: int | None
    count: int
    records: tuple[Record, ...]
    run_ids: frozenset[str]
    breaks: tuple[int, ...]  # iterations whose chain does not follow from the line before
    torn_first_line: bool
    unreadable: tuple[Path, ...]


class _Line(NamedTuple):
    iteration: int
    chain: str
    run_id: str
    follows: bool  # or nobody can tell, because the line before is not there


Place = tuple[Path, int, bytes]  # file, number of the line, the line


def scan_log(run_dir: Path, after: int | None, latest: int) -> Scan:
    """The records of iterations behind `after` (None: of none), and at least the `latest` ones.

    Raises DamagedStateError naming file and line where a line is no record.
    """
    found = settled(run_dir, partial(_scan, after=after, latest=latest))
    return found if found is not None else _of_all(read_log(run_dir), after, latest)


def walk_log(
    run_dir: Path, walk: Callable[[Iterator[Record]], T], wanted: Callable[[bytes], bool] = lambda text: True
) -> T:
    """What `walk` makes of the records whose line is wanted, in order of iteration, decoded one by one. It may be given
    more of them, and called more than once."""
    in_order = settled(run_dir, lambda paths: _scan(paths, after=None, latest=0)) is not None
    if not in_order:
        return walk(iter(read_log(run_dir).records))
    return settled(
        run_dir, lambda paths: walk(record_of(*place) for place in LogFiles(paths).lines() if wanted(place[2]))
    )


def records_with(run_dir: Path, needle: bytes) -> Iterator[Record]:
    """The records whose line holds these bytes, in order of iteration; no other line is decoded."""
    found = settled(
        run_dir,
        lambda paths: {
            record.iteration: record
            for record in (record_of(*place) for place in LogFiles(paths).lines() if needle in place[2])
        },
    )
    return (found[iteration] for iteration in sorted(found))


def _scan(paths: Sequence[Path], after: int | None, latest: int) -> Scan | None:
    """None where the lines do not stand in order, each once: that needs all of them at hand."""
    files = LogFiles(paths)
    recent = deque[Place](maxlen=latest)
    behind: list[Place] = []
    run_ids: set[str] = set()
    breaks: list[int] = []
    first = previous = None
    count = 0
    for place in files.lines():
        line = _line(place, previous)
        if previous is not None and line.iteration <= previous.iteration:
            return None
        first, previous, count = first or line, line, count + 1
        run_ids.add(line.run_id)
        if not line.follows:
            breaks.append(line.iteration)
        (behind if after is not None and line.iteration > after else recent).append(place)
    return Scan(
        first.iteration if first else None,
        previous.iteration if previous else None,
        count,
        tuple(record_of(*place) for place in (*recent, *behind)),
        frozenset(run_ids),
        tuple(breaks),
        files.torn_first_line,
        tuple(files.unreadable),
    )


def _line(place: Place, previous: _Line | None) -> _Line:
    quick = _proven(place[2], previous)
    if quick is not None:
        return quick
    body = decode_line(*place)
    record = record_of(*place)
    before = _chain_before(record.iteration, previous)
    follows = before is None or chain_of(before, body) == record.chain
    return _Line(record.iteration, record.chain, record.run_id, follows)


def _proven(text: bytes, previous: _Line | None) -> _Line | None:
    """The line, if its chain proves it without decoding: hashed is what is left without `chain` and `time`."""
    chain, iteration, run_id = CHAIN.search(text), ITERATION.search(text), RUN_ID.search(text)
    time = text.rfind(TIME)
    end = text.find(BEHIND_TIME, time)
    if chain is None or iteration is None or run_id is None or time < chain.end() or end < 0:
        return None
    number, claimed = int(iteration[1]), chain[1].decode()
    before = _chain_before(number, previous)
    if before is None:
        return None
    digest = hashlib.sha256(before.encode())
    # as `chain_of` does: what says nothing and earlier versions had no field for is no part of it
    for piece in (text[: chain.start()], text[chain.end() : time].replace(NO_LESSON, b"", 1), text[end + 1 : -1]):
        digest.update(piece)
    if digest.hexdigest()[:32] != claimed:
        return None
    return _Line(number, claimed, run_id[1].decode(), True)


def _chain_before(iteration: int, previous: _Line | None) -> str | None:
    if iteration == 1:
        return FIRST_CHAIN
    return previous.chain if previous is not None and previous.iteration == iteration - 1 else None


def _of_all(log: LogLines, after: int | None, latest: int) -> Scan:
    records = log.records
    wanted = [record for record in records if after is not None and record.iteration > after]
    older = records[: len(records) - len(wanted)]
    return Scan(
        records[0].iteration if records else None,
        records[-1].iteration if records else None,
        len(records),
        (*older[len(older) - min(latest, len(older)) :], *wanted),
        frozenset(record.run_id for record in records),
        log.breaks,
        log.torn_first_line,
        log.unreadable,
    )
