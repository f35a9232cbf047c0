"""A replay memory of single steps with continuous actions, drawn from uniformly.

Unlike `replay.Replay` it keeps the state that a step led to, which is not the next row's where an episode was cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.algorithms.environment import Floats, Ints, Step


class Batch(NamedTuple):
    """Steps of [size] episodes; valid until the next draw of that size."""

    s: Tensor  # [size, inputs]
    a: Tensor  # [size, outputs]
    r: Tensor  # [size]
    alive: Tensor  # [size]: 0 where the step ended the episode
    s_next: Tensor  # [size, inputs]


class Memory:
    """The newest `rows` steps of `episodes` episodes side by side."""

    def __init__(self, rows: int, episodes: int, inputs: int, outputs: int, batch: int) -> None:
        self._rows, self._episodes = rows, episodes

        def steps(n: int) -> Batch:
            widths = (n, inputs), (n, outputs), (n,), (n,), (n, inputs)
            return Batch(*(torch.zeros(width) for width in widths))

        self._kept, self._drawn = steps(rows * episodes), steps(batch)
        self._added = 0

    @property
    def size(self) -> int:
        """Steps that can be drawn."""
        return min(self._added, self._rows) * self._episodes

    def add(self, state: Floats, action: Tensor, outcome: Step) -> None:
        """One step of all episodes: what was seen and done, and what it brought."""
        start = (self._added % self._rows) * self._episodes
        row = slice(start, start + self._episodes)
        kept = self._kept
        kept.s.numpy()[row] = state
        kept.a[row] = action
        kept.r.numpy()[row] = outcome.reward
        np.logical_not(outcome.done, out=kept.alive.numpy()[row], casting="unsafe")
        s_next = kept.s_next.numpy()[row]
        s_next[:] = outcome.observation
        if outcome.cut is not None:
            kept.alive.numpy()[row][outcome.cut.rows] = 1.0
            s_next[outcome.cut.rows] = outcome.cut.observation
        self._added += 1

    def draw(self, index: Ints) -> Batch:
        """The steps `index`, below `size`; as many as the batch."""
        chosen = torch.from_numpy(index)
        for kept, drawn in zip(self._kept, self._drawn, strict=True):
            torch.index_select(kept, 0, chosen, out=drawn)
        return self._drawn

    def state(self) -> dict[str, object]:
        """Everything; views of the filled part, to be written out before the next `add`."""
        filled = self.size
        return {**{name: kept[:filled] for name, kept in self._kept._asdict().items()}, "added": self._added}

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`."""
        for name, kept in self._kept._asdict().items():
            given = saved[name]
            assert isinstance(given, Tensor)
            kept[: len(given)] = given
        added = saved["added"]
        assert isinstance(added, int)
        self._added = added
