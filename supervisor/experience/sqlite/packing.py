"""A row as one piece of bytes, many of them as columns of numbers. No input or output.

SQLite makes an object for each column of each row, which took two thirds of the time of reading; pieces that lie side
by side are columns already. All numbers are little-endian: the head, then state, next state and controls as float32.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from supervisor.experience.rows import Experiences

HEAD = (
    ("width", "<u4"),  # numbers of a state, and as many of the next
    ("numbers", "<u2"),  # of its controls
    ("done", "<u2"),
    ("time", "<i8"),
    ("episode", "<i8"),
    ("action", "<i4"),
    ("reward", "<f4"),
    ("priority", "<f4"),
    ("step", "<i4"),
    ("version", "<i4"),
)
MOST_CONTROLS = 2**16 - 1
SHAPE = struct.Struct("<IH")
HEAD_CELLS = struct.Struct("<IHHqqiffii")


def packed(rows: Experiences) -> list[bytes]:
    """A piece for each. Raises ValueError where the columns do not fit together."""
    lengths = {len(column) for column in vars(rows).values()}
    if len(lengths) > 1 or rows.states.shape != rows.next_states.shape or rows.controls.shape[1] > MOST_CONTROLS:
        shapes = ", ".join(f"{name} {column.shape}" for name, column in vars(rows).items())
        raise ValueError(f"columns that do not fit together: {shapes}")
    kind = _kind(rows.width, rows.controls.shape[1])
    made = np.empty(len(rows), kind)
    values = {
        "width": rows.width,
        "numbers": rows.controls.shape[1],
        "done": rows.done,
        "time": rows.times,
        "episode": rows.episodes,
        "action": rows.actions,
        "reward": rows.rewards,
        "priority": rows.priorities,
        "step": rows.steps,
        "version": rows.versions,
        "state": rows.states,
        "next_state": rows.next_states,
        "controls": rows.controls,
    }
    for name, value in values.items():
        made[name] = value
    data, size = made.tobytes(), kind.itemsize
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


def unpacked(pieces: Sequence[bytes]) -> Experiences:
    """Back from at least one. Raises ValueError where they are not of one shape."""
    width, numbers = SHAPE.unpack_from(pieces[0])
    if len(set(map(len, pieces))) > 1:
        raise _mixed(pieces)
    made = np.frombuffer(b"".join(pieces), _kind(width, numbers))
    if not ((made["width"] == width).all() and (made["numbers"] == numbers).all()):
        raise _mixed(pieces)

    def column(name: str, kind: Any) -> Any:
        return made[name].astype(kind)

    return Experiences(
        states=column("state", np.float32),
        actions=column("action", np.int32),
        controls=column("controls", np.float32),
        rewards=column("reward", np.float32),
        next_states=column("next_state", np.float32),
        done=column("done", np.bool_),
        priorities=column("priority", np.float32),
        episodes=column("episode", np.int64),
        steps=column("step", np.int32),
        versions=column("version", np.int32),
        times=column("time", np.int64),
    )


def shape_of(piece: bytes) -> tuple[int, int]:
    """How many numbers its state and its controls have."""
    width, numbers = SHAPE.unpack_from(piece)
    return width, numbers


def packed_cells(
    time: int,
    state: bytes,
    action: int,
    controls: bytes,
    reward: float,
    next_state: bytes,
    done: int,
    priority: float,
    episode: int,
    step: int,
    version: int,
) -> bytes | None:
    """The piece of a row that had a column for each, as it was before the schema 2. None where it cannot be one."""
    cells = state, next_state, controls
    if not all(isinstance(cell, bytes) and len(cell) % 4 == 0 for cell in cells) or len(state) != len(next_state):
        return None
    shape = len(state) // 4, len(controls) // 4
    try:
        head = HEAD_CELLS.pack(*shape, done, time, episode, action, reward, priority, step, version)
    except (struct.error, OverflowError):
        return None
    return head + state + next_state + controls


def told_cell(value: bytes | str | float | None) -> str | float | None:
    """A number as JSON can hold it: where somebody's numbers of numpy were stored as bytes, those as digits."""
    return value.hex().upper() if isinstance(value, bytes) else value


@lru_cache(maxsize=64)
def _kind(width: int, numbers: int) -> np.dtype[Any]:
    several = (("state", width), ("next_state", width), ("controls", numbers))
    return np.dtype([*HEAD, *((name, "<f4", (count,)) for name, count in several)])


def _mixed(pieces: Sequence[bytes]) -> ValueError:
    widths, numbers = (sorted(set(counts)) for counts in zip(*map(shape_of, pieces), strict=True))
    what, counts = ("rows", widths) if len(widths) > 1 else ("controls", numbers)
    return ValueError(f"{what} of {' and '.join(map(str, counts))} numbers are mixed; ask for one width")
