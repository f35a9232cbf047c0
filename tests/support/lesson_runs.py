"""Runs of pupils that learn from a store which a test breaks, and what they come to: lines, events, books."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from supervisor.experience.outages import OUTAGES_NAME
from supervisor.experience.store import BEGINNING, ExperienceStore, Parcel, Position, Selection
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from supervisor.lesson import Lesson
from supervisor.lessons import OpenStore
from supervisor.parts import Turn
from supervisor.signals import Signals
from tests.support.experiences import experiences
from tests.support.pupil import TARGETS, WIDTH, pupils
from tests.support.small_run import SmallRun, comparable

ROWS = {TARGETS[0]: 2000, TARGETS[1]: 1000}
"""More than PostgreSQL is first asked for, so that a lesson asks it several times."""

ITERATIONS = 2 * len(TARGETS)
"""Of a run: each target's first, and its lesson."""

REWARD = 0.25
PARCEL_ROWS = 500
LIMIT_S = 30.0
PLACES = ("since", "after", "upto")


@functools.cache
def parcels() -> Sequence[Parcel]:
    """What is played in each of these runs, named as a client names what it sends."""
    now_us = int(time.time() * 1e6)
    found: list[Parcel] = []
    for target, count in ROWS.items():
        for first in range(0, count, PARCEL_ROWS):
            rows = experiences(PARCEL_ROWS, seed=first, width=WIDTH)
            rewards, times = np.full(PARCEL_ROWS, REWARD, np.float32), np.full(PARCEL_ROWS, now_us)
            rows = replace(rows, rewards=rewards, times=times)
            found.append(Parcel([(target, rows)], (), "game", f"{target} {first}"))
    return found


def pupils_run(run_dir: Path, played: OpenStore | None, search: bool = False, window: int = 1) -> SmallRun:
    """Without a store it only searches."""
    section = {"search": search, "check_interval_s": 0.01, "min_new_experiences": 100}
    given = {"settings": {"continuous": section}, "definitions": pupils(), "window": window}
    return SmallRun(run_dir, TARGETS, learns=played is not None, played=played, **given)


def in_time(limit_s: float = LIMIT_S) -> Callable[[Turn], None]:
    """Fails a run that takes too long."""
    deadline_s = time.monotonic() + limit_s

    def measured(turn: Turn) -> None:
        assert time.monotonic() < deadline_s, f"iteration {turn.state.iteration} is not to end"

    return measured


def run_until_taught(run: SmallRun, worker_main: Callable[[str], int]) -> None:
    """However far the search comes meanwhile."""
    signals, limit = Signals(), in_time()

    def measured(turn: Turn) -> None:
        limit(turn)
        signals.stop_asked = signals.stop_asked or all(turn.state.target(key).cycle for key in ROWS)

    try:
        run.run(10_000, worker_main=worker_main, signals=signals, measured=measured)
    finally:
        signals.close()


def lines(run: SmallRun, store: ExperienceStore) -> list[dict[str, object]]:
    """The log as any database would have it: of a lesson's places the numbers of the rows up to there, and nothing of
    what clocks gave, nor of which store it was."""
    found = comparable(read_log(run.run_dir).records)
    for line in found:
        line.pop("chain")
        lesson = line["lesson"]
        if isinstance(lesson, Lesson):
            places = {name: _rows_upto(store, lesson.target, getattr(lesson, name)) for name in PLACES}
            line["lesson"] = {**vars(lesson), **places, "since_us": None, "store": None}
    store.close()
    return found


def _rows_upto(store: ExperienceStore, target: str, place: str) -> int:
    return store.count(Selection(target), BEGINNING, Position.parse(place))


def events(run: SmallRun) -> list[str]:
    """Names, in order."""
    path = run.run_dir / EVENTS_NAME
    written = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [str(json.loads(line)["event"]) for line in written]


def of_the_store(run: SmallRun) -> list[str]:
    """Those that tell of it."""
    return [event for event in events(run) if event.startswith(("store_", "books_"))]


def met(run: SmallRun) -> bool:
    """Whether a trial has met an outage."""
    return any(run.run_dir.glob(f"trials/*/{OUTAGES_NAME}"))


def books(store: ExperienceStore) -> dict[str, Sequence[tuple[object, ...]]]:
    """The tables of trainings, models and deployments, without times and numbers of rows."""
    told = {
        "trainings": "SELECT iteration, archetype, model_type, cycle, steps_taken, validation_metric, deployed,"
        " rollback, experiences, version, reason FROM ml_continuous_training_log ORDER BY iteration",
        "models": "SELECT archetype, model_type, version, is_deployed, onnx_path FROM ml_models ORDER BY 1, 2, 3",
        "deployments": "SELECT archetype, version, active, sha256, onnx_path FROM ml_model_versions ORDER BY 1, 2",
    }
    connection = store.connection  # type: ignore[attr-defined]
    found = {name: [tuple(row) for row in connection.execute(select).fetchall()] for name, select in told.items()}
    store.close()
    return found
