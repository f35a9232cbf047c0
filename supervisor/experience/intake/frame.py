"""Experiences as a binary frame. A body is one or more of them, one after the other, each of one target.

All numbers are little-endian, and every block begins at a multiple of 8 bytes, so that numpy reads it as it lies there:

    offset  bytes
         0      4  the letters INXP
         4      2  1, the version of this layout
         6      2  which optional columns there are: 1 priorities, 2 episodes, 4 steps, 8 versions, 16 times
         8      4  rows
        12      4  width: numbers in a state
        16      4  controls: numbers in an action; 0 where it is one of a few
        20      2  bytes of the target's name
        22      2  0
        24         the target's name in UTF-8, `archetype/model_type`

and then these columns, each with a value per row, those in brackets only where the flags say so:

    states       float32 x width        next_states  float32 x width
    rewards      float32                actions      int32, or float32 x controls
    done         a byte, 0 or 1         [priorities] float32, above 0
    [episodes]   int64                  [steps]      int32
    [versions]   int32                  [times]      int64, microseconds since 1970 (UTC)

This module needs numpy and nothing else of other people's: a game server sends with it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences

MAGIC = b"INXP"
LAYOUT = 1
MAX_FRAMES = 256
CONTENT_TYPE = "application/vnd.incumbent.experiences"

_HEADER = struct.Struct("<4sHHIIIHH")
_OPTIONAL = (
    ("priorities", "<f4", 1),
    ("episodes", "<i8", 2),
    ("steps", "<i4", 4),
    ("versions", "<i4", 8),
    ("times", "<i8", 16),
)
_ALL = 31
_UNIT = 8


class FrameError(ValueError):
    """The bytes are no frame. Says what is wrong and where."""


@dataclass(frozen=True)
class Frame:
    """The numbers are as they were sent, good or not."""

    target: str
    rows: Experiences

    def text(self, index: int) -> str:
        """A row as JSON; what is not finite as Python writes it."""
        row = {own.name: getattr(self.rows, own.name)[index].tolist() for own in fields(self.rows)}
        return json.dumps({"target": self.target, **row})


def encode(target: str, rows: Experiences) -> bytes:
    """One frame, with all optional columns. Raises ValueError for a name of more than 65,535 bytes."""
    name, controls = target.encode(), rows.controls.shape[1]
    if len(name) > 0xFFFF:
        raise ValueError(f"a target's name of {len(name)} bytes; give one of at most 65535")
    header = _HEADER.pack(MAGIC, LAYOUT, _ALL, len(rows), rows.width, controls, len(name), 0)
    columns: list[tuple[Any, str]] = [
        (rows.states, "<f4"),
        (rows.next_states, "<f4"),
        (rows.rewards, "<f4"),
        (rows.controls, "<f4") if controls else (rows.actions, "<i4"),
        (rows.done, "u1"),
        *((getattr(rows, own), kind) for own, kind, _ in _OPTIONAL),
    ]
    parts = [header, name, *(np.ascontiguousarray(values, kind).tobytes() for values, kind in columns)]
    return b"".join(part + b"\0" * (-len(part) % _UNIT) for part in parts)


def decode(body: bytes, now_us: int) -> Iterator[Frame]:
    """The frames of a body, their columns being views of it. Rows without a time are of now.

    Raises FrameError. Nothing is allocated for rows that are not there.
    """
    offset = number = 0
    while offset < len(body):
        number += 1
        if number > MAX_FRAMES:
            raise FrameError(f"more than {MAX_FRAMES} frames in one body; put all rows of a target into one")
        frame, offset = _frame(body, offset, now_us)
        yield frame


def _frame(body: bytes, offset: int, now_us: int) -> tuple[Frame, int]:
    if len(body) - offset < _HEADER.size:
        raise FrameError(f"{len(body) - offset} bytes at {offset} where a header of {_HEADER.size} belongs")
    magic, layout, flags, count, width, controls, name_bytes, zero = _HEADER.unpack_from(body, offset)
    if magic != MAGIC or layout != LAYOUT:
        raise FrameError(f"at {offset} there is {magic!r}, layout {layout}; a frame begins with {MAGIC!r} and {LAYOUT}")
    if not count:
        raise FrameError(f"the frame at {offset} has no rows; leave it out")
    if zero or flags & ~_ALL:
        raise FrameError(f"at {offset}: flags {flags:#x} and {zero}; there are none beyond {_ALL:#x}, and a 0 follows")
    columns: list[tuple[str, str, int]] = [
        ("states", "<f4", width),
        ("next_states", "<f4", width),
        ("rewards", "<f4", 1),
        ("controls", "<f4", controls) if controls else ("actions", "<i4", 1),
        ("done", "u1", 1),
        *((name, kind, 1) for name, kind, flag in _OPTIONAL if flags & flag),
    ]
    starts = offset + _HEADER.size
    ends = starts + _padded(name_bytes) + sum(_padded(count * each * _size(kind)) for _, kind, each in columns)
    if ends > len(body):
        raise FrameError(
            f"the frame at {offset} says {count} rows of width {width} and needs {ends - offset} bytes;"
            f" {len(body) - offset} are there"
        )
    target = _name(body[starts : starts + name_bytes])
    found: dict[str, NDArray[Any]] = {}
    starts += _padded(name_bytes)
    for name, kind, each in columns:
        found[name] = np.frombuffer(body, kind, count * each, starts)
        starts += _padded(count * each * _size(kind))
    if (found["done"] > 1).any():
        raise FrameError(f"the frame at {offset}: done must be 0 or 1 in every row")
    return Frame(target, _rows(found, count, width, controls, now_us)), ends


def _rows(found: dict[str, NDArray[Any]], count: int, width: int, controls: int, now_us: int) -> Experiences:
    def given(name: str, kind: Any, otherwise: float) -> NDArray[Any]:
        return found[name].astype(kind, copy=False) if name in found else np.full(count, otherwise, kind)

    return Experiences(
        states=found["states"].reshape(count, width).astype(np.float32, copy=False),
        actions=given("actions", np.int32, 0),
        controls=given("controls", np.float32, 0).reshape(count, controls) if controls else np.zeros((count, 0), "f4"),
        rewards=given("rewards", np.float32, 0),
        next_states=found["next_states"].reshape(count, width).astype(np.float32, copy=False),
        done=found["done"] != 0,
        priorities=given("priorities", np.float32, 1),
        episodes=given("episodes", np.int64, 0),
        steps=given("steps", np.int32, 0),
        versions=given("versions", np.int32, 0),
        times=given("times", np.int64, now_us),
    )


def _name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise FrameError(f"the target's name is not UTF-8: {raw[:40]!r}") from error


def _size(kind: str) -> int:
    return int(kind[-1])


def _padded(size: int) -> int:
    return size + -size % _UNIT
