"""Rows as psycopg gives them as columns of numbers, where there are too few for COPY to matter. No input or output."""

from __future__ import annotations

from collections.abc import Sequence
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


def experiences_of(rows: Sequence[tuple[Any, ...]]) -> Experiences:
    """From at least one row in the order of NAMES, all of one width."""
    times, states, actions, controls, rewards, next_states, done, priorities, episodes, steps, versions = zip(
        *rows, strict=True
    )
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


def _matrix(cells: Sequence[bytes]) -> Any:
    return np.frombuffer(b"".join(cells), "<f4").reshape(len(cells), -1).astype(np.float32, copy=False)
