"""`training_log.jsonl`, the truth: one canonical line per iteration; appending it is the commit.

Lines are chained: `chain` hashes the previous chain and this line without `time` and `chain`, so a changed or missing
line is noticed. The file may be truncated, moved, rotated or compressed by its user at any moment; before each append
its identity is compared with what was remembered.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.contract import Json, as_json, parse
from supervisor.errors import DamagedStateError
from supervisor.journal import durable
from supervisor.record import FIRST_CHAIN, Record

LOG_NAME = "training_log.jsonl"


class LogRewrittenError(Exception):
    """Somebody shortened, replaced or rotated the log since the last append."""


def chain_of(previous: str, line: dict[str, Json]) -> str:
    """The chain value of a line that follows one with chain `previous`: 32 hex digits of SHA-256."""
    body = {key: value for key, value in line.items() if key not in ("time", "chain")}
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


def read_log(run_dir: Path) -> LogLines:
    """All lines of the folder, compressed rotations too; a torn last line is left out, a line twice is taken once.

    Raises DamagedStateError naming file and line where a complete line is no record.
    """
    by_iteration: dict[int, tuple[Record, dict[str, Json]]] = {}
    for path in _log_files(run_dir):
        for number, text in enumerate(_whole_lines(path), start=1):
            line = _decode(path, number, text)
            record = _record(path, number, line)
            by_iteration[record.iteration] = (record, line)
    pairs = [by_iteration[iteration] for iteration in sorted(by_iteration)]
    return LogLines(tuple(record for record, _ in pairs), tuple(_chain_breaks(pairs)))


def version_records(run_dir: Path) -> Iterator[Record]:
    """The records that make a version, in the order of the files; no other line is decoded.

    For readers beside the supervisor: weeks of lines take them milliseconds. Raises DamagedStateError.
    """
    for path in _log_files(run_dir):
        for number, text in enumerate(_whole_lines(path), start=1):
            if b'"version":"' in text:  # canonical JSON spells it so, or null
                record = _record(path, number, _decode(path, number, text))
                if record.made_version is not None:
                    yield record


def _chain_breaks(pairs: Iterable[tuple[Record, dict[str, Json]]]) -> Iterator[int]:
    """Iterations whose line, as it stands in the file, does not follow from the one before."""
    previous: Record | None = None
    for record, line in pairs:
        if record.iteration == 1:
            expected = chain_of(FIRST_CHAIN, line)
        elif previous is None or record.iteration != previous.iteration + 1:
            expected = record.chain  # the first line of a shortened log gives its chain on trust
        else:
            expected = chain_of(previous.chain, line)
        if record.chain != expected:
            yield record.iteration
        previous = record


def _log_files(run_dir: Path) -> list[Path]:
    rotated = sorted(run_dir.glob("training_log*.jsonl.gz"))
    plain = run_dir / LOG_NAME
    return [*rotated, *([plain] if plain.exists() else [])]


def _whole_lines(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    end = data.rfind(b"\n") + 1
    return iter(data[:end].splitlines())


def _decode(path: Path, number: int, text: bytes) -> dict[str, Json]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise DamagedStateError(
            f"{path}:{number}: not a JSON line ({error}); restore it from a copy, or move the file aside to go on"
            " from the last snapshot"
        ) from error
    if not isinstance(line, dict):
        raise DamagedStateError(f"{path}:{number}: a line must be a JSON object")
    return line


def _record(path: Path, number: int, line: dict[str, Json]) -> Record:
    try:
        return parse(Record, line)
    except ValueError as error:
        raise DamagedStateError(f"{path}:{number}: not a line of this program: {error}") from error


def cut_torn_tail(run_dir: Path) -> int:
    """Cut an unfinished last line off, durably; the number of bytes cut."""
    path = run_dir / LOG_NAME
    if not path.exists():
        return 0
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        durable.truncate(path, end)
    return len(data) - end


class Log:
    """The append side. It remembers what the file looked like after the last append."""

    def __init__(self, run_dir: Path, last_chain: str) -> None:
        self.path = run_dir / LOG_NAME
        self.last_chain = last_chain
        self._identity = self._look()

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size

    def commit(self, record: Record) -> Record:
        """Append the line with its chain and fsync: the commit. The record as it stands in the file.

        Raises LogRewrittenError, with nothing written, when the file is not the one this object left behind.
        """
        if self._look() != self._identity:
            raise LogRewrittenError
        line = chained(record, self.last_chain)
        self._append(encode(line))
        self.last_chain = line.chain
        return line

    def restore(self, records: Iterable[Record]) -> None:
        """Append lines again that were committed and then removed by somebody; accept the file as it is."""
        self._identity = self._look()
        missing = b"".join(encode(record) for record in records)
        if missing:
            self._append(missing)

    def _append(self, data: bytes) -> None:
        expected = self._identity[1] if self._identity else 0
        try:
            durable.append(self.path, data, expected_size=expected)
        except ValueError as error:
            raise LogRewrittenError from error
        self._identity = self._look()
