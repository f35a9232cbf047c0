"""The files that hold the lines of the log: the log itself and its rotations, which may be renamed meanwhile."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from supervisor.errors import TryAgainError

LOG_NAME = "training_log.jsonl"
ROTATED = re.compile(r"training_log[.-]\d[\d-]*\.jsonl")  # by logrotate, until it is compressed
PIECE_BYTES = 1 << 20
LISTINGS = 100  # how often files are read again because they were renamed or compressed meanwhile

T = TypeVar("T")


def log_files(run_dir: Path) -> list[Path]:
    """Rotations, then the log. Of a rotation that is being compressed the original counts, not the unfinished copy."""
    plain = sorted(path for path in run_dir.glob("training_log*.jsonl") if ROTATED.fullmatch(path.name))
    compressed = [path for path in run_dir.glob("training_log*.jsonl.gz") if path.with_suffix("") not in plain]
    log = run_dir / LOG_NAME
    return [*sorted(compressed), *plain, *([log] if log.exists() else [])]


def settled(run_dir: Path, read: Callable[[Sequence[Path]], T]) -> T:
    """What `read` makes of the log's files; done again where somebody renamed or compressed one meanwhile."""
    for _ in range(LISTINGS):
        paths = log_files(run_dir)
        try:
            found = read(paths)
        except FileNotFoundError:
            continue
        if paths == log_files(run_dir):
            return found
    raise TryAgainError(f"{run_dir / LOG_NAME} and its rotations change faster than they can be read")


class LogFiles:
    """The complete lines of a log's files one by one, and what had to be left out."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.torn_first_line = False
        self.unreadable: list[Path] = []

    def lines(self) -> Iterator[tuple[Path, int, bytes]]:
        """File, number of the line from 1, and the line."""
        for path in self._paths:
            if path.suffix == ".gz" and not _can_be_unpacked(path):
                self.unreadable.append(path)
                continue
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                lines = enumerate(_whole_lines(stream), start=1)
                for number, text in lines if path.suffix == ".gz" else self._behind_a_torn_one(lines):
                    yield path, number, text

    def _behind_a_torn_one(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """A first line that is no JSON is what `tail -c` leaves, if others follow it; alone it may be anything."""
        first, second = next(lines, None), next(lines, None)
        if first is not None and second is not None and not _is_json(first[1]):
            self.torn_first_line = True
            first = None
        return chain((pair for pair in (first, second) if pair is not None), lines)


def _whole_lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    return (text for text in stream if text.endswith(b"\n"))


def _can_be_unpacked(path: Path) -> bool:
    """Whether the rotation is whole: somebody's gzip may be at work, or have been killed."""
    try:
        with gzip.open(path) as stream:
            while stream.read(PIECE_BYTES):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
