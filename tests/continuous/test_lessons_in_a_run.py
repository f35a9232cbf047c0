"""The continuous cycle in the one loop: play in the store becomes lessons, promotions, lines, and after a crash the
very same ones."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supervisor import loop
from supervisor.contract import Outcome, Reason, Status
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.journal import durable, requests
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from supervisor.journal.requests import Action, Request
from supervisor.lesson import Lesson
from supervisor.lessons import FILE_NAME
from supervisor.search.fold import value_of
from supervisor.state import State, fold_all
from tests.support.experiences import experiences
from tests.support.experiences import write as write_rows
from tests.support.pupil import TARGETS, WIDTH, pupils
from tests.support.records import make_promotion, make_record
from tests.support.small_run import SmallRun, comparable
from trainers import worker

A, B = TARGETS


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.01)


def played(run_dir, target, count, reward=1.0):
    """Experiences of just now that each add to a pupil's skill."""
    rows = experiences(count, width=WIDTH)
    now = int(time.time() * 1e6)
    store = SqliteStore(run_dir / "experiences.db")
    write_rows(store, replace(rows, rewards=np.full(count, reward, np.float32), times=np.full(count, now)), target)
    store.close()


def learner(run_dir, search=False, **continuous):
    run_dir.mkdir(exist_ok=True)
    section = {"search": search, "check_interval_s": 0.01, "min_new_experiences": 100, **continuous}
    return SmallRun(run_dir, TARGETS, settings={"continuous": section}, definitions=pupils(), learns=True)


def lines(run):
    return read_log(run.run_dir).records


def lesson_lines(run):
    return [line for line in lines(run) if line.lesson is not None]


def events(run):
    path = run.run_dir / EVENTS_NAME
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []


def test_what_was_played_is_learnt_from_proven_and_promoted(tmp_path):
    run = learner(tmp_path / "run")
    played(run.run_dir, A, 1500)
    state = run.run(100, one_cycle=True)
    (line,) = lesson_lines(run)
    assert (line.target, line.purpose, line.sampler, line.status) == (A, "continuous", "continuous", Status.COMPLETE)
    assert (line.lesson.rows, line.metrics["new_rows"], line.start) == (1500, 1500.0, "v000001")
    assert line.decision.outcome is Outcome.PROMOTE
    assert line.decision.reason is Reason.PROVEN
    assert state.target(A).incumbent.name == line.version
    assert state.target(A).incumbent.params == state.target(A).versions["v000001"].params
    assert state.target(A).learnt_upto == {line.version: line.lesson.reached}
    assert state.target(B).incumbent.name == "v000002"
    assert any("Cycle 1: 1,500 new experiences for aggressive/pupil" in said for said in run.said)


def test_with_several_workers_lessons_come_once_their_incumbents_can_be_seen(tmp_path):
    run = learner(tmp_path / "run")
    run.window = 8
    for target in TARGETS:
        played(run.run_dir, target, 1500)
    run.run(100, slots=2, one_cycle=True)
    assert [line.target for line in lesson_lines(run)] == [A, B]
    assert {line.purpose for line in lines(run)} == {"baseline", "search", "continuous"}
    assert len(lines(run)) <= 2 + 8 + 2 + 2


def test_what_is_in_the_incumbents_weights_is_not_learnt_from_again(tmp_path):
    run = learner(tmp_path / "run")
    played(run.run_dir, A, 1500)
    run.run(100, one_cycle=True)
    run.run(100, one_cycle=True)
    played(run.run_dir, A, 150)
    run.run(100, one_cycle=True)
    assert lesson_lines(run)[0].promoted
    assert [line.lesson.rows for line in lesson_lines(run)] == [1500, 150]
    assert [line.lesson.cycle for line in lesson_lines(run)] == [1, 3]


def test_a_worse_one_is_not_promoted_and_what_it_learnt_is_learnt_again_with_what_came_since(tmp_path):
    run = learner(tmp_path / "run")
    played(run.run_dir, A, 1000, reward=-1.0)
    state = run.run(100, one_cycle=True)
    assert state.target(A).incumbent.name == "v000001"
    assert (state.target(A).looked_upto, state.target(A).learnt_upto) == (lesson_lines(run)[0].lesson.reached, {})
    run.run(100, one_cycle=True)
    assert len(lesson_lines(run)) == 1
    played(run.run_dir, A, 3000)
    run.run(100, one_cycle=True)
    first, second = lesson_lines(run)
    assert first.decision.outcome is not Outcome.PROMOTE
    assert (second.lesson.rows, second.promoted) == (4000, True)


def test_a_version_has_learnt_what_the_one_it_started_from_had_and_one_from_scratch_nothing():
    lesson = Lesson(A, 1, "0:0", "0:0", "0:300", 300, 0, WIDTH, "v000001", 0)
    taught = make_promotion(1, A, lesson=lesson, purpose="continuous")
    line = [
        taught,
        make_promotion(2, A, start="v000001"),
        make_promotion(3, A, start=None),
        make_promotion(4, A, start="v000002"),
        make_promotion(5, A, lesson=replace(lesson, cycle=2, upto="0:900"), start="v000004"),
        make_record(6, A, lesson=replace(lesson, cycle=3, upto="0:1000")),
        make_record(7, A, lesson=replace(lesson, cycle=4, upto="0:2000"), status=Status.FAILED, win_rate=None),
        make_promotion(8, A, version="v000003", start="v000005", purpose="manual"),
    ]
    target = fold_all(State(), line).target(A)
    first, later = "0:300", "0:900"
    assert target.learnt_upto == {"v000001": first, "v000002": first, "v000004": first, "v000005": later}
    assert (target.looked_upto, target.cycle) == ("0:2000", 4)


def test_the_gain_that_must_be_proven_is_the_cycles_own(tmp_path):
    run = learner(tmp_path / "run", min_improvement=0.5)
    played(run.run_dir, A, 1500)
    run.run(100, one_cycle=True)
    (line,) = lesson_lines(run)
    assert line.reason is Reason.BELOW_SCREEN
    assert not line.promoted


def test_without_auto_deploy_a_proven_winner_waits_for_its_operator(tmp_path):
    run = learner(tmp_path / "run", auto_deploy=False)
    played(run.run_dir, A, 1500)
    state = run.run(100, one_cycle=True)
    assert lesson_lines(run)[0].reason is Reason.AWAITING_OPERATOR
    assert state.target(A).incumbent.name == "v000001"


def test_the_search_goes_on_between_lessons_and_counts_none_of_them(tmp_path):
    run = learner(tmp_path / "run", search=True)
    played(run.run_dir, A, 1500)
    state = run.run(30)
    assert len(lesson_lines(run)) == 1
    searched = [line for line in lines(run) if line.purpose == "search"]
    assert len(searched) >= 20
    (lesson,) = lesson_lines(run)
    assert [value_of(lesson, objective) for objective in ("win_rate", "delta")] == [None, None]
    of_search = [line for line in searched if line.target == A]
    assert state.target(A).search.spsa.trials == len(of_search)


def test_switched_off_nothing_is_learnt_from_play(tmp_path):
    run = learner(tmp_path / "run", search=True, enabled=False)
    played(run.run_dir, A, 1500)
    run.run(10)
    assert lesson_lines(run) == []
    assert not (run.run_dir / FILE_NAME).exists()


class Killed(BaseException):
    """As if by kill -9."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cycle")
    run = learner(folder / "run")
    for target in TARGETS:
        played(run.run_dir, target, 700)
    run.run(100, one_cycle=True)
    return run


@pytest.mark.parametrize("die_at", [*range(1, 120, 7)])
def test_killed_at_any_step_of_a_cycle_the_same_lessons_come_to_the_same_lines(
    tmp_path, undisturbed, die_at, monkeypatch
):
    run = learner(tmp_path / "run")
    (run.run_dir / "experiences.db").write_bytes((undisturbed.run_dir / "experiences.db").read_bytes())
    forget_readers(run)
    steps, real = 0, durable._step

    def step(*what):
        nonlocal steps
        steps += 1
        if steps == die_at:
            raise Killed
        real(*what)

    monkeypatch.setattr(durable, "_step", step)
    try:
        run.run(100, one_cycle=True)
    except Killed:
        run.run(100, one_cycle=True)
    assert without_times(lines(run)) == without_times(lines(undisturbed))


def forget_readers(run):
    store = SqliteStore(run.run_dir / "experiences.db")
    store.connection.execute("DELETE FROM ml_experience_readers")
    store.close()


def without_times(records):
    """Lines without what a clock gave: how far back a lesson may look is one such thing."""
    found = comparable(records)
    for line in found:
        line.pop("chain")
        if line["lesson"] is not None:
            line["lesson"] = {k: v for k, v in vars(line["lesson"]).items() if k != "since_us"}
    return found


def test_a_store_that_stays_silent_lets_the_trial_rest_until_it_answers(tmp_path, monkeypatch):
    run = learner(tmp_path / "run")
    played(run.run_dir, A, 1000)
    path, away = run.run_dir / "experiences.db", run.run_dir / "away"
    codes = []

    def main(folder):
        if run_has_lesson(folder) and not codes:
            path.rename(away)
            path.mkdir()
        code = worker.main(folder)
        if run_has_lesson(folder):
            codes.append(code)
        if away.exists():
            path.rmdir()
            away.rename(path)
        return code

    run.run(100, worker_main=main, one_cycle=True)
    assert codes[0] == worker.EXIT_STORE_SILENT
    (line,) = lesson_lines(run)
    assert (line.status, line.metrics["new_rows"], line.time["attempts"]) == (Status.COMPLETE, 1000.0, 1)
    assert any("the experience store does not answer: iteration" in said for said in run.said)


def run_has_lesson(folder):
    return json.loads((Path(folder) / "trial.json").read_bytes())["lesson"] is not None


def test_a_store_that_cannot_be_read_is_told_once_and_does_not_end_the_search(tmp_path):
    run = learner(tmp_path / "run", search=True)
    (run.run_dir / "experiences.db").write_bytes(b"no database " * 100)
    run.run(12)
    assert len(lines(run)) == 12
    assert events(run).count("store_silent") == 1


def test_a_damaged_cycle_file_costs_a_look_and_nothing_else(tmp_path):
    run = learner(tmp_path / "run")
    played(run.run_dir, A, 1500)
    run.run(100, one_cycle=True)
    (run.run_dir / FILE_NAME).write_text('{"number": 7')
    played(run.run_dir, A, 200)
    run.run(100, one_cycle=True)
    assert [(line.lesson.cycle, line.lesson.rows) for line in lesson_lines(run)] == [(1, 1500), (2, 200)]


def test_a_version_that_was_put_back_has_learnt_no_more_than_before(tmp_path):
    run = learner(tmp_path / "run")
    played(run.run_dir, A, 1500)
    run.run(100, one_cycle=True)
    requests.drop(run.run_dir, Request("back", 1, Action.PROMOTE, A, version="v000001"))
    state = run.run(100, requests_only=True)
    assert state.target(A).incumbent.name == "v000001"
    assert "v000001" not in state.target(A).learnt_upto
    played(run.run_dir, A, 200)
    run.run(100, one_cycle=True)
    assert lesson_lines(run)[-1].lesson.rows == 1700


def test_one_cycle_ends_where_the_store_cannot_be_read(tmp_path):
    run = learner(tmp_path / "run")
    (run.run_dir / "experiences.db").write_bytes(b"no database " * 100)
    run.run(100, one_cycle=True)
    assert events(run).count("store_silent") == 1
