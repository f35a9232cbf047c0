"""A file that experiences are read from, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences, joined

CHUNK_ROWS = 4096
"""Rows that are stored at once. A file's chunks are named by their number, so that a repeated import knows them."""

REQUIRED = ("states", "actions", "rewards", "next_states", "done")
OPTIONAL = ("controls", "priorities", "episodes", "steps", "versions", "times")
MATRICES = ("states", "next_states", "controls")
FLOATS = (*MATRICES, "rewards", "priorities")
WHOLE: Mapping[str, type[np.integer[Any]]] = {
    "actions": np.int32,
    "episodes": np.int64,
    "steps": np.int32,
    "versions": np.int32,
    "times": np.int64,
}
OUT_OF_RANGE = -1


class SourceError(ValueError):
    """What is wrong with a file, and the cure; without the file's name."""


class Source(Protocol):
    """An open file. Its blocks may be read several times, and are the same each time."""

    @property
    def target(self) -> str | None:
        """Of whom it says to be; None where it does not say."""

    def mistakes(self) -> list[str]:
        """Of its columns, each with the cure; none where it can be read."""

    def blocks(self, time_us: int) -> Iterator[Experiences]:
        """Its rows in order, each block of one width; `time_us` is when, where the file does not say. Raises
        SourceError where it turns out to be damaged."""


@dataclass(frozen=True)
class Column:
    """As a file declares it. `kind` is numpy's letter of the type, `bits` its size, `numbers` whether a row has
    several."""

    name: str
    kind: str
    bits: int
    numbers: bool
    said: str  # the type, as the file's format writes it


def column_mistakes(columns: Mapping[str, Column]) -> list[str]:
    """What is wrong with a file's columns; those that no experience has are left alone."""
    needed = [name for name in REQUIRED if not (name == "actions" and "controls" in columns)]
    found = [
        f"the column {name} is missing (there are: {', '.join(sorted(columns)) or 'none'}); an experience needs"
        f" {', '.join(REQUIRED)}"
        for name in needed
        if name not in columns
    ]
    for name in (*REQUIRED, *OPTIONAL):
        if name in columns:
            found += _column_mistake(columns[name])
    return found


def _column_mistake(column: Column) -> list[str]:
    name, said = column.name, column.said
    if name == "actions" and column.numbers:
        return [f"the column actions is {said}; one of a few is one whole number each, numbers belong in controls"]
    if column.numbers != (name in MATRICES):
        shape = "a row of numbers each" if name in MATRICES else "one value each"
        return [f"the column {name} is {said}; rows have {shape}"]
    if name in FLOATS and not (column.kind == "f" and column.bits <= 32):
        return [f"the column {name} is {said}; convert it to 32-bit floats (numpy.float32)"]
    if name == "done" and column.kind != "b":
        return [f"the column {name} is {said}; convert it to booleans"]
    if name in WHOLE and column.kind not in "iu":
        return [f"the column {name} is {said}; convert it to whole numbers ({np.dtype(WHOLE[name]).name})"]
    return []


def experiences_of(columns: Mapping[str, NDArray[Any]], count: int, time_us: int) -> Experiences:
    """Of arrays with `count` rows each; whole numbers that do not fit become OUT_OF_RANGE, which no experience has."""
    given = {name: narrowed(columns[name], kind) for name, kind in WHOLE.items() if name in columns}
    controls = columns.get("controls")
    made = Experiences.of(
        columns["states"],
        given.get("actions", np.zeros(count, np.int32)),
        columns["rewards"],
        columns["next_states"],
        columns["done"],
        time_us=time_us,
        priorities=columns.get("priorities"),
        episodes=given.get("episodes"),
        steps=given.get("steps"),
        versions=given.get("versions"),
        times=given.get("times"),
    )
    if controls is None:
        return made
    return Experiences(**{**vars(made), "controls": np.ascontiguousarray(controls, np.float32)})


def narrowed(values: NDArray[Any], kind: type[np.integer[Any]]) -> NDArray[Any]:
    limits = np.iinfo(kind)
    fits = (values >= limits.min) & (values <= limits.max)
    return np.where(fits, values, OUT_OF_RANGE).astype(kind)


def chunks(blocks: Iterable[Experiences]) -> Iterator[Experiences]:
    """The same rows, CHUNK_ROWS at a time but before a change of width and at the end, however a library cut them."""
    waiting: list[Experiences] = []
    for block in blocks:
        if waiting and _widths(block) != _widths(waiting[0]):
            yield joined(waiting)
            waiting = []
        waiting.append(block)
        if sum(map(len, waiting)) < CHUNK_ROWS:
            continue
        rows = joined(waiting)
        whole = len(rows) - len(rows) % CHUNK_ROWS
        for begin in range(0, whole, CHUNK_ROWS):
            yield rows.where(slice(begin, begin + CHUNK_ROWS))
        waiting = [rows.where(slice(whole, None))] if whole < len(rows) else []
    if waiting:
        yield joined(waiting)


def _widths(rows: Experiences) -> tuple[int, int]:
    return rows.width, rows.controls.shape[1]
