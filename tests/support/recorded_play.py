"""A game that plays with a model's file and records its steps as a store would hand them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences, joined
from supervisor.experience.store import BATCH_ROWS, Page, Position
from trainers.algorithms.environment import Environment

Explore = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""What is done in place of what a policy would do, as the game's own exploration has it."""


def recorded(
    policy: Callable[[NDArray[np.float32]], NDArray[Any]],
    arena: Environment,
    explore: Explore,
    steps: int,
    seed: int,
) -> Experiences:
    """At least so many steps of fights that go on in their rows; those of a tick lie together, as they arrive.

    `arena` has been started; `seed` decides the exploration and numbers the episodes.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    rows = arena.rows
    episodes, step, opened = np.arange(rows) + 1, np.zeros(rows, np.int64), rows
    parts: list[Experiences] = []
    seen = arena.observation
    for tick in range(-(-steps // rows)):
        actions = explore(policy(seen), rng)
        outcome = arena.step(actions)
        names = episodes + (seed << 32)
        columns = (seen, actions, outcome.reward, outcome.observation, outcome.done)
        parts.append(Experiences.of(*columns, time_us=tick, episodes=names, steps=step))
        ended = np.flatnonzero(outcome.done)
        step += 1
        step[ended] = 0
        episodes[ended] = opened + 1 + np.arange(len(ended))
        opened += len(ended)
        seen = outcome.observation
    return joined(parts)


def now_and_then(share: float, choices: int) -> Explore:
    """Any of the choices, in a share of the steps."""

    def explore(actions: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        tries = rng.random(len(actions)) < share
        return np.where(tries, rng.integers(0, choices, len(actions)), actions)

    return explore


def blurred(deviation: float) -> Explore:
    """Controls with normal noise, within [-1, 1]."""

    def explore(actions: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        noise = rng.standard_normal(actions.shape, np.float32) * np.float32(deviation)
        return np.clip(actions + noise, -1, 1)

    return explore


def pages_of(rows: Experiences, batch_rows: int = BATCH_ROWS) -> Callable[[Position], Iterator[Page]]:
    """The rows as a stream; row number i, from 1, stands at position (0, i)."""

    def pages(after: Position) -> Iterator[Page]:
        for begin in range(after.id, len(rows), batch_rows):
            end = min(begin + batch_rows, len(rows))
            yield Page(rows.where(slice(begin, end)), Position(0, end))

    return pages
