"""Experience of fights as files, fight after fight, of one archetype each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.transport.samples import KINDS, Arrays, encoded
from supervisor.journal import durable
from supervisor.tasks import Collected, CollectItem, CollectResult, CollectTask
from trainers.arena.arena import ACTION_COUNT, Arena
from trainers.jobs.job import main, say

FIGHTS = 64
"""Played side by side."""

Choose = Callable[[Arena, int], NDArray[np.int64]]


def work(task: CollectTask) -> CollectResult:
    return CollectResult(tuple(_of_fights(item, task) for item in task.items))


def _of_fights(item: CollectItem, task: CollectTask) -> Collected:
    choose: Choose = _scripted if task.source == "traditional" else _random_play(item.seed)
    blocks: list[Arrays] = []
    kept = 0
    while kept < task.samples:
        blocks.append(_block(item, item.seed + FIGHTS * len(blocks), choose))
        kept += len(blocks[-1]["rewards"])
    whole = {name: np.concatenate([block[name] for block in blocks])[: task.samples] for name in KINDS}
    return _written(item, task, whole)


def _scripted(arena: Arena, tick: int) -> NDArray[np.int64]:
    return arena.scripted_action()


def _random_play(seed: int) -> Choose:
    rng = np.random.Generator(np.random.Philox(key=seed))
    return lambda arena, tick: rng.integers(0, ACTION_COUNT, arena.rows)


def _block(item: CollectItem, first_seed: int, choose: Choose) -> Arrays:
    """FIGHTS fights from their beginnings to their ends, one after the other."""
    arena = Arena(FIGHTS, item.archetype, item.level, reopen=False)
    state = arena.start(np.arange(first_seed, first_seed + FIGHTS, dtype=np.uint64))
    ticks: list[Arrays] = []
    fights: list[NDArray[np.int64]] = []
    while (active := arena.active).any():
        actions = choose(arena, len(ticks))
        step = arena.step(actions)
        rows: tuple[NDArray[Any], ...] = (state, actions, step.reward, step.observation, step.done)
        ticks.append({name: array[active] for name, array in zip(KINDS, rows, strict=True)})
        fights.append(np.flatnonzero(active))
        state = step.observation
    order = np.argsort(np.concatenate(fights), kind="stable")
    return {name: np.concatenate([tick[name] for tick in ticks])[order] for name in KINDS}


def _written(item: CollectItem, task: CollectTask, arrays: Arrays) -> Collected:
    path, data = Path(task.output) / f"{item.archetype}.npz", encoded(arrays)
    durable.write_atomic(path, data)
    say(f"{item.archetype}: {len(arrays['rewards']):,} samples -> {path}")
    return Collected(item.archetype, len(arrays["rewards"]), durable.sha256_bytes(data))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], CollectTask, work))
