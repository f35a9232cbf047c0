"""Games are played with the exported file, not with the network it came from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers.arena.games import Arena, play_games
from trainers.learner import Floats, Session

Ints = NDArray[np.int64]

ROWS = 128
"""Every call plays this many fights side by side, filled up if need be, so that the kernels see one shape only."""

LATENCY_RUNS = 200


class OnnxSession:
    """A model file in the runtime that serves it: one thread, CPU."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime  # takes longer than a trial's whole start: only once there is something to play

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._outputs = [value.name for value in self._session.get_outputs()]
        self.shapes = {value.name: tuple(value.shape[1:]) for value in self._session.get_inputs()}

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """All outputs by name."""
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))

    def latency_s(self, inputs: Mapping[str, Floats], runs: int = LATENCY_RUNS) -> float:
        """95th percentile of the seconds one call takes."""
        taken = np.empty(runs)
        for run in range(runs):
            started_s = time.perf_counter()
            self.run(inputs)
            taken[run] = time.perf_counter() - started_s
        return float(np.percentile(taken, 95))


def load_session(path: Path, sha256: str) -> OnnxSession:
    """The model file, if it still is the one with that hash. Raises TrialError if not."""
    data = path.read_bytes() if path.exists() else b""
    if durable.sha256_bytes(data) != sha256:
        raise TrialError(Reason.UNKNOWN_VERSION, f"{path} is missing or is not the file with sha256 {sha256}")
    return OnnxSession(data)


class GreedyPolicy:
    """The action of the greatest value, of equals the first, by a model of one input and an output per action."""

    def __init__(self, session: Session, input_name: str, output_name: str) -> None:
        self._session, self._input, self._output = session, input_name, output_name

    def __call__(self, observation: Floats) -> Ints:
        """[rows, inputs] -> the best action of each row."""
        actions: Ints = self._session.run({self._input: observation})[self._output].argmax(1)
        return actions


class FightPlayer:
    """One side in scored fights. A policy that remembers is opened anew for every block of fights."""

    def __init__(
        self, open_policy: Callable[[], Callable[[Floats], NDArray[np.generic]]], open_arena: Callable[[int], Arena]
    ) -> None:
        self._open_policy, self._open_arena = open_policy, open_arena

    def play(self, first_seed: int, games: int) -> list[float]:
        """Scores of the games with seeds first_seed, first_seed + 1, ..."""
        return [float(score) for score in play_games(self._open_policy, self._open_arena, first_seed, games, ROWS)]


def rehearse(policy: Callable[[Floats], NDArray[np.generic]], arena: Arena) -> tuple[Floats, float]:
    """Play the fights of an arena that does not reopen its rows to their ends.

    What the policy saw, [ticks, inputs], and the mean reward of a fight.
    """
    seen, reward = [], 0.0
    observation = arena.observation
    while (active := arena.active).any():
        seen.append(observation[active])
        step = arena.step(policy(observation))
        reward += float(step.reward.sum(dtype=np.float64))
        observation = step.observation
    return np.concatenate(seen), reward / arena.rows


def entropy_bits(actions: Ints, choices: int) -> float:
    """Entropy of the actions' marginal distribution; log2(choices) when all are equally common."""
    share = np.bincount(actions, minlength=choices) / len(actions)
    used = share[share > 0]
    return float(-(used * np.log2(used)).sum())
