"""Games are played with the exported file, not with the network it came from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers.arena.arena import Arena
from trainers.arena.games import play_games

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ROWS = 128
"""Every call plays this many fights side by side, filled up if need be, so that the kernels see one shape only."""

LATENCY_RUNS = 200


class OnnxPolicy:
    """Greedy actions of a model file with one input [batch, inputs] and one output [batch, actions]."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime  # takes longer than a trial's whole start: only once there is something to play

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def outputs(self, states: Floats) -> Floats:
        """[rows, inputs] -> [rows, actions]."""
        values: Floats = self._session.run(None, {self._input: states})[0]
        return values

    def __call__(self, states: Floats) -> Ints:
        """[rows, inputs] -> the best action of each row; of equals the first."""
        actions: Ints = self.outputs(states).argmax(1)
        return actions

    def latency_s(self, states: Floats) -> float:
        """95th percentile of the seconds one call takes."""
        taken = np.empty(LATENCY_RUNS)
        for run in range(LATENCY_RUNS):
            started_s = time.perf_counter()
            self.outputs(states)
            taken[run] = time.perf_counter() - started_s
        return float(np.percentile(taken, 95))


def load_policy(path: Path, sha256: str) -> OnnxPolicy:
    """The model file, if it still is the one with that hash. Raises TrialError if not."""
    data = path.read_bytes() if path.exists() else b""
    if durable.sha256_bytes(data) != sha256:
        raise TrialError(Reason.UNKNOWN_VERSION, f"{path} is missing or is not the file with sha256 {sha256}")
    return OnnxPolicy(data)


class ArenaPlayer:
    """One side in the arena: a policy against the traditional AI of a level."""

    def __init__(self, policy: Callable[[Floats], Ints], archetype: str, level: int) -> None:
        self._policy, self._archetype, self._level = policy, archetype, level

    def play(self, first_seed: int, games: int) -> list[float]:
        """Scores of the games with seeds first_seed, first_seed + 1, ..."""
        scores = play_games(self._policy, self._archetype, self._level, first_seed, games, ROWS)
        return [float(score) for score in scores]


def rehearse(policy: OnnxPolicy, arena: Arena) -> tuple[Floats, float]:
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
