"""A lesson's trial: what was played comes out of a real store; stopped, it goes on to the same bytes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supervisor.config.continuous import ContinuousSettings
from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Position, Selection
from supervisor.lesson import Lesson
from tests.support.arena_trials import StopAt, small_spec, trial_folder
from tests.support.experiences import experiences, write
from trainers.arena_target import ArenaTarget
from trainers.played import Played, StoreSilent
from trainers.single import Undisturbed
from trainers.target import StopRequested

TARGET, ROWS, WIDTH = "aggressive/combat_dqn", 3000, 64
NOW_US = int(time.time() * 1e6)
CONTINUOUS = ContinuousSettings(batch_size=32, max_steps_per_iteration=40, memory_rows=1024, validation_samples=50)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    rows = experiences(ROWS, width=WIDTH)
    steps = np.arange(ROWS)
    rows = replace(
        rows, times=NOW_US + steps, episodes=steps // 20 + 1, steps=(steps % 20).astype(np.int32), done=steps % 20 == 19
    )
    store = SqliteStore(tmp_path / "experiences.db")
    write(store, rows, TARGET)
    assert store.newest(Selection(TARGET)) is not None
    store.close()
    return tmp_path


def spec(**changes):
    lesson = Lesson(TARGET, 1, "0:0", "0:1000", f"0:{ROWS}", ROWS - 1000, 1000, WIDTH, "v000001", NOW_US - 1)
    rules = {"continuous": CONTINUOUS.model_dump(mode="json")}
    return small_spec(rows=4, lesson=lesson, rules=rules, purpose="continuous", **changes)


def test_it_learns_from_the_rows_of_its_lesson_and_plays_nothing_itself(run_dir):
    folder = trial_folder(run_dir)
    given = spec()
    built = ArenaTarget(given, folder, Undisturbed()).build(given.params, folder)
    assert built.metrics["new_rows"] == ROWS - 1000
    assert built.metrics["replayed_rows"] == 1000
    assert built.metrics["gradient_steps"] == built.steps == 40
    assert built.metrics["holdout_rows"] > 0
    assert "train_score" not in built.metrics


def test_stopped_and_taken_up_by_another_process_it_comes_to_the_same_bytes(run_dir):
    given, ends = spec(), []
    for name, stops in (("000001", ()), ("000002", (3, 17))):
        folder = trial_folder(run_dir, name)
        for step in stops:
            with pytest.raises(StopRequested):
                ArenaTarget(given, folder, StopAt(step)).build(given.params, folder)
        ArenaTarget(given, folder, Undisturbed()).build(given.params, folder)
        ends.append([(folder / file).read_bytes() for file in ("model.onnx", "final.pt")])
    assert ends[0] == ends[1]


def test_it_shares_no_batch_with_trainings_that_play(run_dir):
    folder = trial_folder(run_dir)
    given = spec()
    assert ArenaTarget(given, folder, Undisturbed())._training(given.params, folder) == []
    plain = replace(given, lesson=None)
    assert len(ArenaTarget(plain, folder, Undisturbed())._training(given.params, folder)) == 1


def test_a_model_type_that_cannot_learn_so_is_refused(run_dir):
    folder = trial_folder(run_dir)
    given = replace(spec(), target="aggressive/movement_ppo")
    with pytest.raises(TrialError) as refused:
        ArenaTarget(given, folder, Undisturbed())._new_learner(None, None)
    assert refused.value.reason == Reason.OUT_OF_RANGE


def test_a_store_without_the_rows_of_the_lesson_ends_it_with_that_reason(run_dir):
    folder = trial_folder(run_dir)
    store = SqliteStore(run_dir / "experiences.db")
    store.connection.execute("DELETE FROM ml_experience_replay")
    store.close()
    given = spec()
    with pytest.raises(TrialError) as refused:
        ArenaTarget(given, folder, Undisturbed()).build(given.params, folder)
    assert refused.value.reason == Reason.EXPERIENCES_GONE


def test_another_store_in_the_place_of_the_lessons_ends_it_with_that_reason_too(run_dir):
    store = SqliteStore(run_dir / "experiences.db")
    given, identity = spec(), store.identity
    store.close()
    for name, known in (("000001", identity), ("000002", "")):  # a lesson of an earlier program does not say
        own = replace(given, lesson=replace(given.lesson, store=known))
        folder = trial_folder(run_dir, name)
        assert ArenaTarget(own, folder, Undisturbed()).build(own.params, folder).metrics["new_rows"] == ROWS - 1000
    other = replace(given, lesson=replace(given.lesson, store="another"))
    folder = trial_folder(run_dir, "000003")
    with pytest.raises(TrialError) as refused:
        ArenaTarget(other, folder, Undisturbed()).build(other.params, folder)
    assert refused.value.reason == Reason.EXPERIENCES_GONE


def test_without_its_store_it_waits_and_makes_none(run_dir, monkeypatch):
    (run_dir / "experiences.db").rename(run_dir / "elsewhere.db")
    folder = trial_folder(run_dir)
    played = Played(spec().lesson, run_dir, folder, Undisturbed(), patience_s=0.1)
    with pytest.raises(StoreSilent):
        list(played.pages(Position(0, 0)))
    assert folder.exists()
    assert not (run_dir / "experiences.db").exists()
