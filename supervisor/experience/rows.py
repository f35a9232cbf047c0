"""Experiences of one target as columns of numbers: how they travel between a game, the store and a training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bools = NDArray[np.bool_]

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Experiences:
    """Steps of play, a row each. An action is either one of a few (`actions`) or numbers (`controls`).

    A state is what the model was asked with: all its inputs side by side, in the order of its interface.
    """

    states: Floats  # (rows, width)
    actions: Ints  # (rows,): which of the few; 0 where `controls` has columns
    controls: Floats  # (rows, numbers); no columns where the action is one of a few
    rewards: Floats  # (rows,)
    next_states: Floats  # (rows, width): where the step led; anything where it was the last
    done: Bools  # (rows,): the episode ended with it
    priorities: Floats  # (rows,): of the game's own making, above 0; 1 is usual
    episodes: Longs  # (rows,): which episode it is of, see `episode_number`; 0 is unknown
    steps: Ints  # (rows,): which step of its episode
    versions: Ints  # (rows,): iteration of the model version that acted; 0 is unknown
    times: Longs  # (rows,): when, in microseconds since 1970 (UTC)

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def width(self) -> int:
        return int(self.states.shape[1])

    def where(self, chosen: Any) -> Experiences:
        """The rows that an index, a slice or a mask chooses."""
        return replace(self, **{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    @classmethod
    def of(
        cls,
        states: Any,
        actions: Any,
        rewards: Any,
        next_states: Any,
        done: Any,
        *,
        time_us: int,
        priorities: Any = None,
        episodes: Any = None,
        steps: Any = None,
        versions: Any = None,
        times: Any = None,
    ) -> Experiences:
        """From anything numpy takes. `actions` of whole numbers are choices, of rows of floats controls; `time_us` is
        when, where `times` does not say. Raises ValueError where the columns do not fit together."""
        count = len(rewards)
        acted = np.asarray(actions)
        few = acted.ndim == 1
        empty, none = np.zeros((count, 0), np.float32), np.zeros(count, np.int32)
        made = cls(
            states=_matrix(states, count),
            actions=_column(acted, np.int32, count) if few else none,
            controls=empty if few else _matrix(acted, count),
            rewards=_column(rewards, np.float32, count),
            next_states=_matrix(next_states, count),
            done=_column(done, np.bool_, count),
            priorities=_column(1.0 if priorities is None else priorities, np.float32, count),
            episodes=_column(0 if episodes is None else episodes, np.int64, count),
            steps=_column(0 if steps is None else steps, np.int32, count),
            versions=_column(0 if versions is None else versions, np.int32, count),
            times=_column(time_us if times is None else times, np.int64, count),
        )
        if made.states.shape != made.next_states.shape:
            raise ValueError(f"states are {made.states.shape}, next states {made.next_states.shape}: give equal shapes")
        return made


def joined(parts: Sequence[Experiences]) -> Experiences:
    """One after the other; at least one, all of equal widths."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(Experiences)]
    return Experiences(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def episode_number(name: str | int) -> int:
    """An episode's number in the store: a whole number of 63 bits stays what it is, a name is hashed to one."""
    if isinstance(name, int):
        return name
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def _matrix(values: Any, count: int) -> Floats:
    made = np.ascontiguousarray(values, np.float32)
    if made.ndim != 2 or len(made) != count:
        raise ValueError(f"an array of shape {made.shape} where {count} rows of numbers belong")
    return made


def _column(values: Any, kind: Any, count: int) -> Any:
    made = np.asarray(values, kind)
    if made.ndim == 0:
        return np.full(count, made, kind)
    if made.shape != (count,):
        raise ValueError(f"an array of shape {made.shape} where {count} numbers belong")
    return np.ascontiguousarray(made)
