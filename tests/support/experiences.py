"""Experiences out of nothing, for tests of whatever carries them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from supervisor.experience.rows import Experiences, joined
from supervisor.experience.store import BEGINNING, ExperienceStore, Page, Parcel, Position, Selection

TARGET, OTHER = "mage/combat_dqn", "tank/combat_dqn"
WIDTH = 8
NOON_US = 1_767_268_800_000_000
END = Position(2**62, 2**62)


def experiences(count: int, seed: int = 0, width: int = WIDTH, controls: int = 0, first: int = 0) -> Experiences:
    """`rewards` number the rows from `first`, so that each can be told from every other."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(count, controls)) if controls else rng.integers(0, 10, count)
    return Experiences.of(
        rng.normal(size=(count, width)),
        actions,
        np.arange(first, first + count),
        rng.normal(size=(count, width)),
        rng.random(count) < 0.1,
        time_us=NOON_US,
        priorities=rng.random(count) + 0.5,
        episodes=rng.integers(-(2**63), 2**63 - 1, count),
        steps=rng.integers(0, 1000, count),
        versions=rng.integers(0, 1000, count),
        times=NOON_US + np.arange(count),
    )


def write(store: ExperienceStore, rows: Experiences, target: str = TARGET) -> None:
    store.write([Parcel([(target, rows)])])


def numbered(count: int, first: int = 0) -> Experiences:
    return experiences(count, seed=first, first=first)


def read(store: ExperienceStore, selection: Selection | None = None, **given: object) -> list[Page]:
    """All of a selection below the horizon, unless `after` and `upto` say otherwise."""
    selection = selection or Selection(TARGET)
    bounds = {"after": BEGINNING, "upto": END, **given}
    return list(store.stream(selection, **bounds))


def numbers(pages: Iterable[Page]) -> list[int]:
    """Those that `numbered` gave the rows."""
    return [int(number) for page in pages for number in page.rows.rewards]


def together(pages: Iterable[Page]) -> Experiences:
    return joined([page.rows for page in pages])


def same(one: Experiences, other: Experiences) -> bool:
    """Bit for bit, in every column."""
    pairs = [(vars(one)[name], vars(other)[name]) for name in vars(one)]
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
