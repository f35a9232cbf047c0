"""Episodes of a Gymnasium environment side by side, which can be saved and gone on with bit for bit.

An environment has no state that could be saved in general, but it is a function of its seed and the actions: an episode
under way is saved as those, and played again when it is restored. Whoever's environment is no such function loses
exact resume and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms.environment import Cut, Floats

Actions = NDArray[Any]
SEED_RANGE = 2**63


@dataclass(frozen=True)
class Step:
    """One step of every episode; see `algorithms.environment.Step`."""

    observation: Floats
    reward: Floats
    done: NDArray[np.bool_]
    score: Floats
    cut: Cut | None


@dataclass(frozen=True)
class Worth:
    """How an episode's return becomes a score in [0, 1]: 0 at `low` and below, 1 at `high` and above."""

    low: float
    high: float

    def score(self, total: float) -> float:
        return min(1.0, max(0.0, (total - self.low) / (self.high - self.low)))


class Shape:
    """What an environment shows and takes, as arrays of a fixed width."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        seen, taken = environment.observation_space, environment.action_space
        self._seen, self._taken = seen, taken
        if isinstance(seen, spaces.Box):
            self.inputs = int(np.prod(seen.shape))
        elif isinstance(seen, spaces.Discrete):
            self.inputs = int(seen.n)
        else:
            raise _unsuited(f"observations are {seen}; Box and Discrete are understood")
        self.continuous = isinstance(taken, spaces.Box)
        if isinstance(taken, spaces.Discrete):
            self.outputs = int(taken.n)
        elif isinstance(taken, spaces.Box) and bool(np.isfinite([taken.low, taken.high]).all()):
            self.outputs = int(np.prod(taken.shape))
        else:
            raise _unsuited(f"actions are {taken}; Discrete and a Box with limits are understood")

    def observe(self, raw: Any) -> Floats:
        """(inputs,); a discrete state as a row of zeros and a one."""
        if isinstance(self._seen, spaces.Discrete):
            row: Floats = np.eye(self.inputs, dtype=np.float32)[int(raw) - int(self._seen.start)]
            return row
        return np.asarray(raw, np.float32).reshape(-1)

    def act(self, action: Any) -> Any:
        """What the environment takes: a choice, or numbers of [-1, 1] spread over its limits."""
        if isinstance(self._taken, spaces.Discrete):
            return int(action) + int(self._taken.start)
        assert isinstance(self._taken, spaces.Box)
        low, high = self._taken.low.astype(np.float64), self._taken.high.astype(np.float64)
        share = (np.asarray(action, np.float64).reshape(low.shape) + 1) / 2
        return (low + share * (high - low)).astype(self._taken.dtype)


class Episode:
    """One environment, and all that brings its episode back: its seed and the actions since."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.environment = made(name, options)
        self.shape = Shape(self.environment)
        self.seed = 0
        self.actions: list[Any] = []
        self.total = 0.0
        self.observation: Floats = np.zeros(self.shape.inputs, np.float32)

    def begin(self, seed: int) -> None:
        self.seed, self.actions, self.total = seed, [], 0.0
        self.observation = self.shape.observe(self.environment.reset(seed=seed % SEED_RANGE)[0])

    def step(self, action: Any) -> tuple[float, bool, bool]:
        """Reward, whether it ended, whether it was cut short."""
        self.actions.append(action)
        raw, reward, ended, cut, _ = self.environment.step(self.shape.act(action))
        self.total += float(reward)
        self.observation = self.shape.observe(raw)
        return float(reward), bool(ended), bool(cut)


class Episodes:
    """An Environment of the algorithms: `rows` episodes; the n-th that row r plays has seed first + r + n * rows."""

    def __init__(self, name: str, options: Mapping[str, Any], rows: int, first_seed: int, worth: Worth) -> None:
        self._rows = [Episode(name, options) for _ in range(rows)]
        self._worth = worth
        for row, episode in enumerate(self._rows):
            episode.begin(first_seed + row)

    @property
    def shape(self) -> Shape:
        return self._rows[0].shape

    @property
    def rows(self) -> int:
        return len(self._rows)

    @property
    def observation(self) -> Floats:
        return np.stack([episode.observation for episode in self._rows])

    def step(self, actions: Actions) -> Step:
        """One step of every episode; one that ends or is cut is followed by the next in its row."""
        reward, score = np.zeros(self.rows, np.float32), np.full(self.rows, -1, np.float32)
        done, cut_rows, cut_seen = np.zeros(self.rows, np.bool_), [], []
        for row, (episode, action) in enumerate(zip(self._rows, actions, strict=True)):
            reward[row], ended, cut = episode.step(np.copy(action))
            done[row] = ended or cut
            if cut and not ended:
                cut_rows.append(row)
                cut_seen.append(episode.observation)
            if done[row]:
                score[row] = self._worth.score(episode.total)
                episode.begin(episode.seed + self.rows)
        short = Cut(np.array(cut_rows, np.int64), np.stack(cut_seen)) if cut_rows else None
        return Step(self.observation, reward, done, score, short)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Seeds, and the actions since each beginning, one episode after the other."""
        taken = [action for episode in self._rows for action in episode.actions]
        return {
            "seeds": np.array([episode.seed for episode in self._rows], np.int64),
            "lengths": np.array([len(episode.actions) for episode in self._rows], np.int64),
            "actions": np.array(taken, np.float32 if self.shape.continuous else np.int64),
        }

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        """Play the saved episodes again up to where they were."""
        ends = np.cumsum(np.asarray(saved["lengths"], np.int64))
        actions: Sequence[Any] = list(np.asarray(saved["actions"]))
        for episode, seed, end, length in zip(self._rows, saved["seeds"], ends, saved["lengths"], strict=True):
            episode.begin(int(seed))
            for action in actions[int(end) - int(length) : int(end)]:
                episode.step(action)


def made(name: str, options: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """The environment of that id. Raises TrialError with what Gymnasium says where it cannot be made."""
    try:
        return gymnasium.make(name, disable_env_checker=True, **options)
    except Exception as error:  # of the registry, of an id's own package, of the environment
        raise TrialError(
            Reason.BUILD_FAILED, f"Gymnasium makes no environment {name!r}: {type(error).__name__}: {error}"
        ) from error


def _unsuited(what: str) -> TrialError:
    return TrialError(Reason.BUILD_FAILED, f"this environment cannot be learnt here: its {what}")
