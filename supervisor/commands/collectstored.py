"""`incumbent collect --source database`: what the store of experiences has of an archetype, as its file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supervisor.commands.store import opened
from supervisor.commands.storeoptions import StoreOptions
from supervisor.errors import DamagedStateError, StorageUnreachableError, UsageError
from supervisor.experience.opening import URL_VARIABLE
from supervisor.experience.rows import Bools, Experiences, joined
from supervisor.experience.store import BEGINNING, ExperienceStore, NotInitialisedError, Position, Selection
from supervisor.experience.transport.samples import encoded
from supervisor.journal import durable
from supervisor.tasks import Collected

WIDTH = 64  # numbers of a state of the model type whose experience the files hold
FORMER_VARIABLE = "INCUMBENT_DATABASE_URL"


@dataclass(frozen=True)
class _Found:
    """`upto` is how far was read, `left_out` how many rows there were none."""

    parts: list[Experiences]
    left_out: int
    upto: Position


def collect_stored(options: StoreOptions, target: str, samples: int, output: Path) -> Collected:
    """As many experiences of a target as are asked for, the oldest first, as long as there are some; rows that are none
    do not count. Raises UsageError, StorageUnreachableError also where there is no table of experiences,
    DamagedStateError where rows with controls, which it has none of, are among them."""
    if FORMER_VARIABLE in os.environ and URL_VARIABLE not in os.environ:
        raise UsageError(f"{FORMER_VARIABLE} is called {URL_VARIABLE} now, for every command: rename it")
    try:
        with opened(options) as it:
            found = _found(it.store, target, samples)
    except NotInitialisedError as error:
        raise StorageUnreachableError(f"{error}; {URL_VARIABLE} names the store") from error
    except ValueError as error:
        raise DamagedStateError(f"{target} chooses one of a few, and some of its rows do not: {error}") from error
    archetype = target.split("/", 1)[0]
    if not found.parts:
        return Collected(archetype, 0, "", found.left_out)
    rows = joined(found.parts)
    columns = {"states": rows.states, "actions": rows.actions, "rewards": rows.rewards}
    data = encoded({**columns, "next_states": rows.next_states, "done": rows.done})
    durable.write_atomic(output / f"{archetype}.npz", data)
    return Collected(archetype, len(rows), durable.sha256_bytes(data), found.left_out)


def _found(store: ExperienceStore, target: str, samples: int) -> _Found:
    selection = Selection(target, width=WIDTH)
    newest = store.newest(Selection(target)) or BEGINNING
    try:
        return _read(store, Selection(target), newest, samples)
    except ValueError:  # rows of other widths are among them
        found = _read(store, selection, newest, samples)
        others = store.count(Selection(target), BEGINNING, found.upto) - store.count(selection, BEGINNING, found.upto)
        return _Found(found.parts, found.left_out + others, found.upto)


def _read(store: ExperienceStore, selection: Selection, newest: Position, samples: int) -> _Found:
    parts: list[Experiences] = []
    wanted, left_out = samples, 0
    for page in store.stream(selection, BEGINNING, newest):
        good = _is_experience(page.rows)
        chosen = np.flatnonzero(good)[:wanted]
        wanted -= len(chosen)
        left_out += int((~good[: chosen[-1]]).sum()) if not wanted else int((~good).sum())
        if len(chosen):
            parts.append(page.rows.where(chosen))
        if not wanted:
            return _Found(parts, left_out, page.last)
    return _Found(parts, left_out, newest)


def _is_experience(rows: Experiences) -> Bools:
    """WIDTH finite numbers before and after, a finite reward, one choice of a few."""
    if rows.width != WIDTH or rows.controls.shape[1]:
        return np.zeros(len(rows), np.bool_)
    finite = np.isfinite(rows.states).all(axis=1) & np.isfinite(rows.next_states).all(axis=1)
    return finite & np.isfinite(rows.rewards)
