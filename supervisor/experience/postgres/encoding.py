"""Columns of numbers as PostgreSQL's binary COPY format. No input or output."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np

from supervisor.experience.postgres.decoding import EPOCH_US
from supervisor.experience.rows import Experiences

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
FIELDS, SIZE = struct.Struct(">h"), struct.Struct(">i")


def encoded_texts(*texts: str) -> bytes:
    """A row of texts, without header and trailer. Raises ValueError where one is no Unicode."""
    cells = [text.encode() for text in texts]
    return b"".join((FIELDS.pack(len(cells)), *(SIZE.pack(len(cell)) + cell for cell in cells)))


def encoded(target: str, rows: Experiences) -> memoryview:
    """The bytes of the rows without header and trailer, in the order of columns of `writing.sql`. Raises ValueError
    where columns are of different lengths."""
    names = tuple(name.encode() for name in target.split("/", 1))
    row = _row_type(*map(len, names), rows.states.shape[1], rows.next_states.shape[1], rows.controls.shape[1])
    made = np.empty(len(rows), row)
    values: dict[str, Any] = {
        "archetype": np.frombuffer(names[0], f"V{len(names[0])}") if names[0] else None,
        "model_type": np.frombuffer(names[1], f"V{len(names[1])}") if names[1] else None,
        "timestamp": rows.times - EPOCH_US,
        "state": rows.states,
        "action": rows.actions,
        "controls": rows.controls,
        "reward": rows.rewards,
        "next_state": rows.next_states,
        "done": rows.done,
        "priority": rows.priorities,
        "episode": rows.episodes,
        "step": rows.steps,
        "version": rows.versions,
    }
    made["fields"] = len(values)
    for name, value in values.items():
        made[f"{name}_size"] = row[name].itemsize
        made[name] = value
    return made.view(np.uint8).data


@lru_cache(maxsize=256)
def _row_type(archetype: int, model_type: int, state: int, next_state: int, controls: int) -> np.dtype[Any]:
    """From the lengths of the names in bytes and of the others in numbers."""
    kinds: dict[str, Any] = {
        "archetype": f"V{archetype}",
        "model_type": f"V{model_type}",
        "timestamp": ">i8",
        "state": ("<f4", (state,)),
        "action": ">i4",
        "controls": ("<f4", (controls,)),
        "reward": ">f4",
        "next_state": ("<f4", (next_state,)),
        "done": "?",
        "priority": ">f4",
        "episode": ">i8",
        "step": ">i4",
        "version": ">i4",
    }
    parts = [(name, kind) for field, cell in kinds.items() for name, kind in ((f"{field}_size", ">i4"), (field, cell))]
    return np.dtype([("fields", ">i2"), *parts])
