"""What can happen to a file: bits flip, bytes become zero, it is cut, deleted, or a folder stands in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

DELETED, FOLDER = "deleted", "folder"


def ways(data: bytes, flips: int) -> Iterator[str]:
    """A name for each way that is tried on a file with these bytes. Two flips in three leave a digit a digit."""
    if data:
        last = len(data) - 1
        positions = sorted({number * last // max(1, flips - 1) for number in range(flips)})
        for number, position in enumerate(positions):
            yield f"bit {position}.{number % 8 if number % 3 == 2 else 0}"
        yield f"zero {last // 2}"
        yield from (f"cut {length}" for length in sorted({0, len(data) // 2, last}))
    yield DELETED
    yield FOLDER


def harmed(data: bytes, way: str) -> bytes | None:
    """The bytes afterwards; None where there is no file any more."""
    what, _, where = way.partition(" ")
    if what == "bit":
        position, bit = map(int, where.split("."))
        return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]
    if what == "zero":
        return data[: int(where)] + b"\0" + data[int(where) + 1 :]
    if what == "cut":
        return data[: int(where)]
    return None


def harm(path: Path, way: str) -> None:
    """Do it to the file."""
    after = harmed(path.read_bytes(), way)
    if after is not None:
        path.write_bytes(after)
        return
    path.unlink()
    if way == FOLDER:
        path.mkdir()
