"""The continuous cycle as Prometheus sees it."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supervisor import lessons, loop
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.metrics.exposition import RunMetrics
from supervisor.metrics.figures import Figures
from supervisor.parts import Turn
from supervisor.state import State
from tests.support.experiences import experiences
from tests.support.experiences import write as write_rows
from tests.support.pupil import TARGETS, WIDTH, pupils
from tests.support.scraping import samples
from tests.support.small_run import SmallRun

A, B = TARGETS


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRun:
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.01)
    (tmp_path / "run").mkdir()
    section = {"search": False, "check_interval_s": 0.01, "min_new_experiences": 100}
    settings: dict[str, dict[str, object]] = {"continuous": section}
    return SmallRun(tmp_path / "run", TARGETS, settings=settings, definitions=pupils(), learns=True)


def play(run: SmallRun, count: int) -> None:
    rows = experiences(count, width=WIDTH)
    now = int(time.time() * 1e6)
    store = SqliteStore(run.run_dir / "experiences.db")
    write_rows(store, replace(rows, rewards=np.full(count, 1.0, np.float32), times=np.full(count, now)), A)
    store.close()


def told(state: State, turn: Turn | None = None) -> dict[str, float]:
    figures = Figures(state, tuple(sorted(TARGETS)), 1, None, None)
    if turn is not None:
        figures = replace(figures, cycle=turn.cycle, store_up=turn.store_up)
    return samples(RunMetrics(lambda: figures).text().decode())


def test_before_the_first_cycle_iterations_are_counted_as_they_always_were(run: SmallRun) -> None:
    found = told(run.run(100, one_cycle=True))
    assert found["ml_continuous_training_cycles_total"] == found["incumbent_iteration"] == 2
    assert found[f'incumbent_experiences_learnt_total{{target="{A}"}}'] == 0


def test_lessons_rows_and_cycles_are_told_by_target_and_outcome(run: SmallRun) -> None:
    turns: list[Turn] = []
    play(run, 1500)
    run.run(100, one_cycle=True, measured=turns.append)
    state = run.run(100, one_cycle=True, measured=turns.append)  # looks, and finds nothing new
    found = told(state, turns[-1])
    assert found["ml_continuous_training_cycles_total"] == state.cycle == 1
    assert found["incumbent_cycle"] == 2
    assert found["incumbent_store_up"] == 1
    assert found[f'incumbent_experiences_learnt_total{{target="{A}"}}'] == 1500
    assert found[f'incumbent_experiences_learnt_total{{target="{B}"}}'] == 0
    assert found[f'incumbent_lessons_total{{outcome="promote",target="{A}"}}'] == 1
    assert found[f'incumbent_lessons_total{{outcome="failed",target="{A}"}}'] == 0
    assert sum(value for key, value in found.items() if key.startswith("incumbent_lessons_total")) == 1


def test_a_store_that_does_not_answer_is_told_until_it_does(run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "RETRY_S", 0.01)
    before = run.run(100, one_cycle=True)
    play(run, 1500)
    path, aside = run.run_dir / "experiences.db", run.run_dir / "aside.db"
    path.rename(aside)
    path.write_bytes(b"no database at all" * 1000)
    ups: list[bool] = []

    def measured(turn: Turn) -> None:
        ups.append(turn.store_up)
        if not turn.store_up and aside.exists():
            path.unlink()
            shutil.move(aside, path)

    run.run(before.iteration + 1, measured=measured)
    assert False in ups
    assert ups[-1] is True
    assert (
        "incumbent_store_up 0.0"
        in RunMetrics(lambda: Figures(State(), (), 1, None, None, store_up=False)).text().decode()
    )
