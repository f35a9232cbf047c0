"""PostgreSQL's binary COPY format into columns of numbers. No input or output: bytes in, rows out."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.postgres.table import Numbers
from supervisor.experience.rows import Experiences
from supervisor.experience.store import Position

EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts from 2000."""

FIXED = (
    ("txid", ">i8"),
    ("id", ">i8"),
    ("action", ">i4"),
    ("reward", ">f4"),
    ("done", "?"),
    ("priority", ">f4"),
    ("episode", ">i8"),
    ("step", ">i4"),
    ("version", ">i4"),
    ("timestamp", ">i8"),
)
SEVERAL = ("state", "next_state", "controls")
FIELDS = len(FIXED) + len(SEVERAL)
HEAD = np.dtype(
    [("fields", ">i2"), *(part for name, kind in FIXED for part in ((f"{name}_size", ">i4"), (name, kind)))]
)
SIZES = {f"{name}_size": np.dtype(kind).itemsize for name, kind in FIXED}
ARRAY_HEAD_BYTES = 20  # dimensions, nulls, kind of element, length, first index
ELEMENT = {Numbers.REAL: ">f4", Numbers.DOUBLE: ">f8"}
SIZE = struct.Struct(">i")

Sizes = tuple[int, int, int]
Kinds = tuple[Numbers, Numbers, Numbers]


@dataclass(frozen=True)
class Rows:
    """Some rows with the numbers of their transactions and their ids."""

    experiences: Experiences
    txids: NDArray[np.int64]
    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def last(self) -> Position:
        return Position(int(self.txids[-1]), int(self.ids[-1]))


def decoded(body: bytes | bytearray, kinds: Kinds) -> Rows:
    """Whole rows, at least one. Raises ValueError where they are not of one width."""
    view = memoryview(body)
    alike = _all_alike(view, kinds)
    return _one_by_one(view, kinds) if alike is None else alike


def _all_alike(body: memoryview, kinds: Kinds) -> Rows | None:
    """Where every row has the first one's sizes the whole is one array. None where not."""
    first = _sizes(body)
    row = _row_type(first, kinds)
    if row is None or len(body) % row.itemsize:
        return None
    rows = np.frombuffer(body, row)
    wanted = {"fields": FIELDS, **SIZES, **{f"{name}_size": size for name, size in zip(SEVERAL, first, strict=True)}}
    if not all((rows[name] == size).all() for name, size in wanted.items()):
        return None
    matrices = [_matrix(rows[name], kind) for name, kind in zip(SEVERAL, kinds, strict=True)]
    if any(matrix is None for matrix in matrices) or matrices[0].shape != matrices[1].shape:
        return None
    return _rows(rows, *matrices)


@lru_cache(maxsize=64)
def _row_type(sizes: Sizes, kinds: Kinds) -> np.dtype[Any] | None:
    """Of a row whose numbers have these sizes in bytes; None where that cannot be."""
    parts: list[tuple[str, Any]] = [(name, HEAD[name]) for name in HEAD.names or ()]
    for name, kind, size in zip(SEVERAL, kinds, sizes, strict=True):
        cell = _cell_type(kind, size)
        if cell is None:
            return None
        parts += [(f"{name}_size", np.dtype(">i4")), (name, cell)]
    return np.dtype(parts)


def _cell_type(kind: Numbers, size: int) -> np.dtype[Any] | None:
    if kind in (Numbers.BYTES, Numbers.NONE):
        return None if size < 0 or size % 4 else np.dtype(("<f4", (size // 4,)))
    if kind is Numbers.JSON or size < ARRAY_HEAD_BYTES:
        return None
    element = np.dtype([("size", ">i4"), ("value", ELEMENT[kind])])
    count, rest = divmod(size - ARRAY_HEAD_BYTES, element.itemsize)
    return None if rest else np.dtype([("head", f"V{ARRAY_HEAD_BYTES}"), ("elements", (element, (count,)))])


def _matrix(cells: Any, kind: Numbers) -> Any:
    """None where the cells are arrays with a null among their elements, or of more than one dimension."""
    if kind in (Numbers.BYTES, Numbers.NONE):
        return np.ascontiguousarray(cells, np.float32)
    elements = cells["elements"]
    if not (cells["head"] == cells["head"][0]).all() or SIZE.unpack_from(cells["head"][0].tobytes())[0] != 1:
        return None
    if not (elements["size"] == np.dtype(ELEMENT[kind]).itemsize).all():
        return None
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(elements["value"], np.float32)


def _one_by_one(body: memoryview, kinds: Kinds) -> Rows:
    """Exact for whatever a table holds. What is null or broken becomes NaN, so that whoever checks what is finite
    leaves the row out, but where the last step of an episode leads nobody asks."""
    heads: list[memoryview] = []
    cells: tuple[list[Any], ...] = ([], [], [])
    place = 0
    while place < len(body):
        heads.append(body[place : place + HEAD.itemsize])
        place += HEAD.itemsize
        for column, kind in zip(cells, kinds, strict=True):
            size = max(SIZE.unpack_from(body, place)[0], 0)
            place += SIZE.size
            column.append(_numbers(bytes(body[place : place + size]), kind))
            place += size
    head = np.frombuffer(b"".join(heads), HEAD)
    states, controls = _rectangle(cells[0], "states"), _rectangle(cells[2], "controls")
    next_states = np.full(states.shape, np.nan, np.float32)
    next_states[head["done"]] = 0
    for number, cell in enumerate(cells[1]):
        if cell is not None and cell.shape == states.shape[1:]:
            next_states[number] = cell
    return _rows(head, states, next_states, controls)


def _rectangle(cells: Sequence[NDArray[np.float32] | None], what: str) -> NDArray[np.float32]:
    widths = sorted({len(cell) for cell in cells if cell is not None})
    if len(widths) > 1:
        raise mixed(what, widths)
    made = np.full((len(cells), widths[0] if widths else 0), np.nan, np.float32)
    for number, cell in enumerate(cells):
        if cell is not None:
            made[number] = cell
    return made


def mixed(what: str, widths: Sequence[int]) -> ValueError:
    return ValueError(f"{what} of {' and '.join(map(str, widths))} numbers are mixed; ask for one width")


def _numbers(cell: bytes, kind: Numbers) -> NDArray[np.float32] | None:
    """One cell's; None where it is null or holds none."""
    if kind is Numbers.NONE:
        return np.zeros(0, np.float32)
    try:
        with np.errstate(over="ignore"):
            if kind is Numbers.JSON:
                return np.asarray(json.loads(cell), np.float32).reshape(-1)
            if kind is Numbers.BYTES:
                return np.frombuffer(cell, "<f4").astype(np.float32)
            return _elements(cell, ELEMENT[kind])
    except (ValueError, TypeError, struct.error):
        return None


def _elements(cell: bytes, element: str) -> NDArray[np.float32]:
    """Of a PostgreSQL array, whatever its dimensions; a null among them is NaN."""
    dimensions = SIZE.unpack_from(cell)[0]
    place, values = 12 + 8 * dimensions, []
    while place < len(cell):
        size = SIZE.unpack_from(cell, place)[0]
        place += SIZE.size
        values.append(np.frombuffer(cell, element, 1, place)[0] if size > 0 else np.nan)
        place += max(size, 0)
    return np.asarray(values, np.float32)


def _sizes(body: memoryview) -> Sizes:
    """Of the first row's numbers, in bytes; -1 is null."""
    place = HEAD.itemsize
    sizes = []
    for _ in SEVERAL:
        sizes.append(SIZE.unpack_from(body, place)[0])
        place += SIZE.size + max(sizes[-1], 0)
    return sizes[0], sizes[1], sizes[2]


def _rows(head: Any, states: Any, next_states: Any, controls: Any) -> Rows:
    def column(name: str, kind: Any) -> Any:
        return head[name].astype(kind)

    experiences = Experiences(
        states=states,
        actions=column("action", np.int32),
        controls=controls,
        rewards=column("reward", np.float32),
        next_states=next_states,
        done=column("done", np.bool_),
        priorities=column("priority", np.float32),
        episodes=column("episode", np.int64),
        steps=column("step", np.int32),
        versions=column("version", np.int32),
        times=column("timestamp", np.int64) + EPOCH_US,
    )
    return Rows(experiences, column("txid", np.int64), column("id", np.int64))
