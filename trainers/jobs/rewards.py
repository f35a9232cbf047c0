"""What an archetype's reward is like: how large, how often, and which of its terms it comes from.

Fights are a function of seeds and actions, so each term is heard alone by playing the same fights with its weight only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supervisor.errors import UsageError
from supervisor.tasks import Distribution, RewardsResult, RewardsResults, RewardsTask, RewardsTasks
from trainers.arena.arena import Arena
from trainers.arena.rewards import effective_weights
from trainers.evaluate import GreedyPolicy, load_session
from trainers.jobs.job import main
from trainers.models.combat_dqn import INPUT, OUTPUT

PERCENT = (0, 1, 5, 25, 50, 75, 95, 99, 100)
SCRIPT = "the script"

Doubles = NDArray[np.float64]


def work(task: RewardsTasks) -> RewardsResults:
    return RewardsResults(tuple(analyzed(one) for one in task.tasks))


def analyzed(task: RewardsTask) -> RewardsResult:
    return _of_data(Path(task.data)) if task.data else _of_fights(task)


def _of_fights(task: RewardsTask) -> RewardsResult:
    weights = effective_weights(task.archetype, task.rewards)
    choose, played_by = _player(task)
    whole = _opened(task, weights)
    alone = {name: _opened(task, {name: weight}) for name, weight in weights.items()}
    ticks, returns = [], np.zeros(task.episodes)
    amounts = dict.fromkeys(weights, 0.0)
    while (active := whole.active).any():
        actions = choose(whole)
        reward = whole.step(actions).reward
        ticks.append(reward[active].astype(np.float64))
        returns += reward
        for name, arena in alone.items():
            amounts[name] += float(np.abs(arena.step(actions).reward).sum(dtype=np.float64))
    total = sum(amounts.values())
    every = np.concatenate(ticks)
    return RewardsResult(
        played_by,
        distribution(every),
        float((every == 0).mean()),
        distribution(returns),
        {name: amount / total if total else 0.0 for name, amount in amounts.items()},
    )


def _player(task: RewardsTask) -> tuple[Callable[[Arena], NDArray[np.int64]], str]:
    if task.model_sha256 is None:
        return Arena.scripted_action, SCRIPT
    session = load_session(Path(task.models) / f"{task.model_sha256}.onnx", task.model_sha256)
    policy = GreedyPolicy(session, INPUT, OUTPUT)
    return lambda arena: policy(arena.observation), "the incumbent"


def _opened(task: RewardsTask, weights: dict[str, float]) -> Arena:
    arena = Arena(task.episodes, task.archetype, task.level, weights, reopen=False)
    arena.start(np.arange(task.seed, task.seed + task.episodes, dtype=np.uint64))
    return arena


def _of_data(path: Path) -> RewardsResult:
    try:
        with np.load(path, allow_pickle=False) as data:
            rewards, done, states = (np.asarray(data[name]) for name in ("rewards", "done", "states"))
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: not a file that incumbent collect wrote ({error})") from error
    values = rewards.astype(np.float64)
    ends = np.flatnonzero(done)
    sums = np.add.reduceat(values[: ends[-1] + 1], np.concatenate([[0], ends[:-1] + 1])) if len(ends) else None
    return RewardsResult(
        f"as collected in {path.name}",
        distribution(values),
        float((values == 0).mean()) if len(values) else 0.0,
        None if sums is None else distribution(sums),
        bad_states=int((~np.isfinite(states)).any(axis=1).sum()),
    )


def distribution(values: Doubles) -> Distribution:
    """Of the finite ones; the others are counted."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return Distribution(len(values), len(values), 0.0, 0.0, {str(percent): 0.0 for percent in PERCENT})
    quantiles = dict(zip(map(str, PERCENT), map(float, np.percentile(finite, PERCENT)), strict=True))
    return Distribution(len(values), len(values) - len(finite), float(finite.mean()), float(finite.std()), quantiles)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], RewardsTasks, work))
