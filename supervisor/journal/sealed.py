"""JSON that shows whether it is as it was written: a file with a `checksum` over the rest, a line with a short `check`.

A flipped digit is valid JSON and a wrong number: nothing that decides is believed without this. Where the key is
missing an earlier version of this program wrote the file, and it is taken on trust.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from supervisor.contract import Json
from supervisor.journal import durable

CHECKSUM_KEY = "checksum"
CHECK_KEY = "check"
CHECK_DIGITS = 16  # of a line: 64 bits

T = TypeVar("T")


class DamagedFileError(ValueError):
    """The bytes are not those that were written. The message says in what way, without the file's name."""


def encode(body: Mapping[str, Json]) -> bytes:
    """The bytes of a file."""
    return durable.canonical_json({**body, CHECKSUM_KEY: _checksum(body)}) + b"\n"


def write(path: Path, body: Mapping[str, Json]) -> None:
    """Replace the file, durably."""
    durable.write_atomic(path, encode(body))


def read(path: Path) -> dict[str, Json]:
    """The body as it was written. Raises DamagedFileError, FileNotFoundError and what else reading may raise."""
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise DamagedFileError("a folder is in its place") from error
    return decode(data)


def decode(data: bytes, trusting: bool = True) -> dict[str, Json]:
    """The body of a file. Raises DamagedFileError; without a checksum only if not `trusting`."""
    body = _object(data)
    if CHECKSUM_KEY not in body and trusting:
        return body
    if body.pop(CHECKSUM_KEY, None) != _checksum(body):
        raise DamagedFileError("its checksum does not fit")
    return body


def encode_line(body: Mapping[str, Json]) -> bytes:
    return durable.canonical_json({**body, CHECK_KEY: _checksum(body)[:CHECK_DIGITS]}) + b"\n"


def decode_line(text: bytes) -> dict[str, Json]:
    """Raises DamagedFileError."""
    body = _object(text)
    if CHECK_KEY in body and body.pop(CHECK_KEY) != _checksum(body)[:CHECK_DIGITS]:
        raise DamagedFileError("its check does not fit")
    return body


def append_line(path: Path, body: Mapping[str, Json]) -> None:
    """One durable line more; what a killed writer left unfinished goes first."""
    durable.cut_torn_tail(path)
    durable.append(path, encode_line(body))


@dataclass(frozen=True)
class Lines(Generic[T]):
    """What a file of lines holds. A torn last line never counted and is no damage."""

    whole: tuple[T, ...]
    damaged: tuple[int, ...]  # numbers of lines, from 1
    kept: bytes  # the bytes of the whole ones
    torn: bool


def read_lines(path: Path, accept: Callable[[dict[str, Json]], T]) -> Lines[T]:
    """The file's lines, none where there is no file. A line that `accept` raises ValueError for is damaged too."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    whole: list[T] = []
    damaged: list[int] = []
    kept: list[bytes] = []
    *lines, unfinished = data.split(b"\n")
    for number, text in enumerate(lines, start=1):
        try:
            whole.append(accept(decode_line(text)))
        except ValueError:
            damaged.append(number)
        else:
            kept.append(text + b"\n")
    return Lines(tuple(whole), tuple(damaged), b"".join(kept), torn=unfinished != b"")


def drop_damaged_lines(path: Path, accept: Callable[[dict[str, Json]], T]) -> Lines[T]:
    """`read_lines`, and then the file holds nothing but the whole lines."""
    found = read_lines(path, accept)
    if found.damaged or found.torn:
        durable.write_atomic(path, found.kept)
    return found


def _object(data: bytes) -> dict[str, Json]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError((str(error).splitlines() or [type(error).__name__])[0]) from error
    if not isinstance(body, dict):
        raise DamagedFileError("it is no JSON object")
    return body


def _checksum(body: Mapping[str, Json]) -> str:
    try:
        return durable.sha256_bytes(durable.canonical_json(body))
    except ValueError as error:  # NaN, which json reads and we never write
        raise DamagedFileError(str(error)) from error
