"""What a learner by trial and error asks of the world it acts in, and what it keeps of the episodes played there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

AVERAGED_EPISODES = 2000.0
"""The running means forget at this pace."""


@dataclass(frozen=True)
class Cut:
    """Episodes cut short by a clock that nobody sees: they did not end, so their last state is worth something."""

    rows: Ints
    observation: Floats  # (len(rows), inputs): where they were cut


class Step(Protocol):
    """What one step of all episodes brought."""

    @property
    def observation(self) -> Floats:
        """(rows, inputs); of the next episode where one ended."""

    @property
    def reward(self) -> Floats:
        """(rows,)"""

    @property
    def done(self) -> Bools:
        """(rows,): the episode ended, or was cut short."""

    @property
    def score(self) -> Floats:
        """(rows,): win 1, draw 1/2, loss 0; means something where `done`."""

    @property
    def cut(self) -> Cut | None:
        """Which of the rows that are done were cut short."""


class Environment(Protocol):
    """Episodes side by side; one that ends is followed by the next at once, in the same row."""

    @property
    def rows(self) -> int: ...

    @property
    def observation(self) -> Floats:
        """What each learner sees now, (rows, inputs)."""

    def step(self, actions: Any) -> Step: ...

    def state(self) -> Mapping[str, NDArray[np.generic]]: ...

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None: ...


class Episodes:
    """Running means over the episodes that ended."""

    def __init__(self, rows: int) -> None:
        self.count = 0
        self.score = self.reward = self.length = 0.0
        self._return = np.zeros(rows, np.float64)  # of the episodes under way
        self._steps = np.zeros(rows, np.int64)

    def note(self, outcome: Step) -> None:
        """One step of all episodes."""
        self._return += outcome.reward
        self._steps += 1
        ended = np.flatnonzero(outcome.done)
        if len(ended) == 0:
            return
        self.count += len(ended)
        pace = min(1.0, len(ended) / min(self.count, AVERAGED_EPISODES))
        self.score += (float(outcome.score[ended].mean(dtype=np.float64)) - self.score) * pace
        self.reward += (float(self._return[ended].mean()) - self.reward) * pace
        self.length += (float(self._steps[ended].mean()) - self.length) * pace
        self._return[ended] = 0.0
        self._steps[ended] = 0

    def metrics(self) -> dict[str, float]:
        return {"train_score": self.score, "train_reward": self.reward, "train_length": self.length}

    def state(self) -> dict[str, object]:
        means = {"count": self.count, "score": self.score, "reward": self.reward, "length": self.length}
        return {**means, "return": self._return.copy(), "steps": self._steps.copy()}

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`."""
        values = cast(Mapping[str, Any], saved)
        self.count = int(values["count"])
        self.score, self.reward, self.length = (float(values[name]) for name in ("score", "reward", "length"))
        self._return[:] = np.asarray(values["return"])
        self._steps[:] = np.asarray(values["steps"])


def arrays(state: Mapping[str, object]) -> dict[str, NDArray[np.generic]]:
    """A saved environment's numpy arrays, which `weights.unpack` gives back as tensors."""
    return {name: value.numpy() if isinstance(value, Tensor) else np.asarray(value) for name, value in state.items()}
