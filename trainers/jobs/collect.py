"""Experience as files: (state, action, reward, next state, done), fight after fight, of one archetype each."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supervisor.journal import durable
from supervisor.tasks import Collected, CollectItem, CollectResult, CollectTask
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH, Arena
from trainers.jobs import database
from trainers.jobs.job import main, say

FIGHTS = 64
"""Played side by side."""

KINDS: Mapping[str, Any] = {
    "states": np.float32,
    "actions": np.int64,
    "rewards": np.float32,
    "next_states": np.float32,
    "done": np.bool_,
}

Arrays = dict[str, NDArray[Any]]
Choose = Callable[[Arena, int], NDArray[np.int64]]


def work(task: CollectTask) -> CollectResult:
    if task.source == "database":
        with database.connected() as connection:
            return CollectResult(tuple(_of_database(connection, item, task) for item in task.items))
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


def _of_database(connection: Any, item: CollectItem, task: CollectTask) -> Collected:
    """As many experiences as are asked for, as long as there are some; rows that are none do not count."""
    left_out = 0

    def usable() -> Iterator[database.Row]:
        nonlocal left_out
        for row in database.rows_of(connection, item.archetype):
            found = database.experience(row, OBSERVATION_WIDTH)
            left_out += found is None
            if found is not None:
                yield found

    rows = list(islice(usable(), task.samples))
    if not rows:
        say(f"{item.archetype}: the table has no experience of it")
        return Collected(item.archetype, 0, "", left_out)
    columns = dict(zip(KINDS, map(list, zip(*rows, strict=True)), strict=True))
    return _written(item, task, {name: np.asarray(columns[name]) for name in KINDS}, left_out)


def _written(item: CollectItem, task: CollectTask, arrays: Arrays, left_out: int = 0) -> Collected:
    stream = io.BytesIO()
    np.savez(stream, **{name: np.ascontiguousarray(array, KINDS[name]) for name, array in arrays.items()})  # type: ignore[arg-type]
    path, data = Path(task.output) / f"{item.archetype}.npz", stream.getvalue()
    durable.write_atomic(path, data)
    note = f", {left_out} rows left out" if left_out else ""
    say(f"{item.archetype}: {len(arrays['rewards']):,} samples -> {path}{note}")
    return Collected(item.archetype, len(arrays["rewards"]), durable.sha256_bytes(data), left_out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], CollectTask, work))
