"""Between rows of the table and columns of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from supervisor.experience.rows import Experiences

NAMES = (
    "timestamp",
    "state",
    "action",
    "controls",
    "reward",
    "next_state",
    "done",
    "priority",
    "episode",
    "step",
    "version",
)
COLUMNS = ", ".join(f'"{name}"' for name in NAMES)

Row = tuple[Any, ...]


def rows_of(experiences: Experiences) -> Iterable[Row]:
    """In the order of NAMES."""
    return zip(
        experiences.times.tolist(),
        _cells(experiences.states),
        experiences.actions.tolist(),
        _cells(experiences.controls),
        experiences.rewards.tolist(),
        _cells(experiences.next_states),
        experiences.done.tolist(),
        experiences.priorities.tolist(),
        experiences.episodes.tolist(),
        experiences.steps.tolist(),
        experiences.versions.tolist(),
        strict=True,
    )


def experiences_of(rows: Sequence[Row]) -> Experiences:
    """Back from at least one row. Raises ValueError where states differ in width."""
    return experiences_of_columns(tuple(zip(*rows, strict=True)))


def experiences_of_columns(columns: Sequence[Sequence[Any]]) -> Experiences:
    """The same from columns in the order of NAMES."""
    times, states, actions, controls, rewards, next_states, done, priorities, episodes, steps, versions = columns
    return Experiences(
        states=_matrix(states),
        actions=np.array(actions, np.int32),
        controls=_matrix(controls),
        rewards=np.array(rewards, np.float32),
        next_states=_matrix(next_states),
        done=np.array(done, np.bool_),
        priorities=np.array(priorities, np.float32),
        episodes=np.array(episodes, np.int64),
        steps=np.array(steps, np.int32),
        versions=np.array(versions, np.int32),
        times=np.array(times, np.int64),
    )


def _cells(matrix: Any) -> list[bytes]:
    data, size = np.ascontiguousarray(matrix, "<f4").tobytes(), 4 * matrix.shape[1]
    return [data[k * size : (k + 1) * size] for k in range(len(matrix))]


def _matrix(cells: Sequence[bytes]) -> Any:
    sizes = set(map(len, cells))
    size = sizes.pop()
    if sizes:
        widths = sorted(known // 4 for known in {size, *sizes})
        raise ValueError(f"rows of {' and '.join(map(str, widths))} numbers are mixed; ask for one width")
    return np.frombuffer(b"".join(cells), "<f4").reshape(len(cells), size // 4).astype(np.float32, copy=False)
