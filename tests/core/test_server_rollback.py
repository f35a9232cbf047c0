"""The server has gone back: the supervisor follows once, keeps it for ever, and says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import Outcome, Params, Reason, Status
from supervisor.execution.room import Admission
from supervisor.journal import requests
from supervisor.journal.requests import Action, Request
from supervisor.registry import server_rollbacks
from supervisor.registry.server_rollbacks import Cause, RollbackFile
from supervisor.registry.store import MODEL_SUFFIX, ModelStore
from tests.support.noop import NoopTarget
from tests.support.server_said import TARGET, in_a_contest, lines, production, promote_three, server_goes_back, told
from tests.support.small_run import SmallRun, definition
from trainers.target import Built


class SameTarget(NoopTarget):
    """Whatever is proposed, it trains to the same bytes."""

    def build(self, params: Params, work: Path) -> Built:
        built = super().build(params, work)
        built.model.write_bytes(b"the same")
        return built


@pytest.fixture(scope="module")
def promoted(tmp_path_factory) -> Path:
    return promote_three(tmp_path_factory.mktemp("promoted") / "run", (0.6, 0.95)).run_dir


@pytest.fixture
def run(promoted, tmp_path) -> SmallRun:
    shutil.copytree(promoted, tmp_path / "run")
    return SmallRun(tmp_path / "run", targets=(TARGET,))


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (Cause.MANUAL, Reason.MANUAL_ROLLBACK),
        (Cause.DEGRADED, Reason.DEGRADED),
        (Cause.HARD_FAULT, Reason.HARD_FAULT),
    ],
)
def test_the_next_line_follows_the_server_and_says_why(run, cause, reason):
    server_goes_back(run.run_dir, TARGET, cause=cause)
    state = run.run(4)
    line = lines(run)[3]
    assert (line.purpose, line.reason, line.version, line.rollbacks) == ("manual", reason, "v000002", ("v000003",))
    assert (line.promoted, line.games, line.requests) == (False, 0, ("server-1",))
    assert state.target(TARGET).incumbent.name == production(run) == "v000002"
    assert state.target(TARGET).rolled_back == ("v000003",)
    [event] = told(run)
    assert event.startswith(f"v000003 of {TARGET}: rolled back by the server, {cause}: score .31 after .52")
    assert event.endswith("v000002 is in production again, and v000003 never comes back")
    assert run.said.count(f"rollback: {event}") == 1


def test_it_is_consumed_once_however_often_it_is_read(run):
    entry = server_goes_back(run.run_dir, TARGET)
    RollbackFile(run.run_dir).append(entry)
    for iterations in (4, 5, 6):
        run.run(iterations)
    RollbackFile(run.run_dir).append(entry)
    run.run(7)
    assert [line.iteration for line in lines(run) if line.rollbacks] == [4]
    assert len(told(run)) == 1


def test_two_in_a_row_are_followed_in_their_order(run):
    server_goes_back(run.run_dir, TARGET)
    server_goes_back(run.run_dir, TARGET, "v000001", "v000002", rollback_id="server-2")
    state = run.run(5)
    assert [line.rollbacks for line in lines(run)[3:]] == [("v000003",), ("v000002",)]
    assert state.target(TARGET).incumbent.name == production(run) == "v000001"


def test_the_version_is_not_promoted_by_hand_again(run):
    server_goes_back(run.run_dir, TARGET)
    run.run(4)
    requests.drop(run.run_dir, Request("again", 1, Action.PROMOTE, TARGET, version="v000003"))
    run.run(5)
    assert lines(run)[4].reason is Reason.ROLLED_BACK
    assert production(run) == "v000002"


def test_where_nothing_is_left_to_serve_the_next_sound_candidate_is_the_first_incumbent_again(run):
    server_goes_back(run.run_dir, TARGET, back_to=None)
    state = run.run(4)
    assert (state.target(TARGET).incumbent, production(run)) == (None, None)
    assert told(run)[0].endswith("nothing is in production any more, and v000003 never comes back")
    assert "rolled back by the server, it did worse in production" in run.said[-1]
    state = run.run(6)
    assert lines(run)[4].reason is Reason.NO_INCUMBENT
    assert production(run) == state.target(TARGET).incumbent.name != "v000003"


def test_an_operator_may_promote_where_nothing_is_left_to_serve(run):
    server_goes_back(run.run_dir, TARGET, back_to=None)
    run.run(4)
    requests.drop(run.run_dir, Request("again", 1, Action.PROMOTE, TARGET, version="v000002"))
    run.run(5)
    assert production(run) == "v000002"


def test_the_same_model_built_again_is_not_the_first_incumbent(tmp_path):
    same = replace(definition(TARGET), kind="tests.core.test_server_rollback:SameTarget")
    run = SmallRun(tmp_path / "run", targets=(TARGET,), definitions={TARGET: same})
    run.run(1)
    server_goes_back(run.run_dir, TARGET, back_to=None)
    run.run(4)
    assert [line.reason for line in lines(run)[2:]] == [Reason.ROLLED_BACK] * 2
    assert production(run) is None


def test_one_that_comes_after_a_promotion_is_remembered_and_changes_nothing(run):
    server_goes_back(run.run_dir, TARGET, "v000001", "v000002")
    before = run.run(3).target(TARGET)
    after = run.run(4).target(TARGET)
    line = lines(run)[3]
    assert (line.status, line.reason, line.rollbacks) == (Status.COMPLETE, Reason.INCUMBENT_GONE, ("v000002",))
    assert after.rolled_back == ("v000002",)
    assert (after.incumbent, after.pool, after.history) == (before.incumbent, before.pool, before.history)
    assert after.search.spsa == before.search.spsa
    assert after.ways_back == ["v000001"]
    assert told(run)[0].endswith("v000003 is in production already, and v000002 never comes back")
    assert production(run) == "v000003"


def test_a_version_that_nobody_knows_is_an_event_and_no_line(run):
    server_goes_back(run.run_dir, TARGET)
    path = run.run_dir / "serving" / "rollbacks.jsonl"
    entry = server_rollbacks.read(run.run_dir).entries[0]
    path.unlink()
    RollbackFile(run.run_dir).append(type(entry)(**{**vars(entry), "model_sha256": "f" * 64}))
    run.run(5)
    assert [line.rollbacks for line in lines(run)[3:]] == [(), ()]
    assert len(told(run, "rollback_unknown")) == 1
    assert production(run) == "v000003"


def test_a_damaged_line_is_told_once_and_the_others_are_followed(run):
    server_goes_back(run.run_dir, TARGET)
    path = run.run_dir / "serving" / "rollbacks.jsonl"
    path.write_bytes(b"{}\n" + path.read_bytes())
    run.run(6)
    assert "line 1 is damaged" in told(run, "rollback_ignored")[0]
    assert len(told(run, "rollback_ignored")) == len(told(run)) == 1


def test_a_target_that_this_start_does_not_search_waits(run):
    server_goes_back(run.run_dir, TARGET)
    SmallRun(run.run_dir, targets=("aggressive/noop",)).run(4)
    assert (production(run), len(told(run, "request_waits"))) == ("v000003", 1)
    SmallRun(run.run_dir, targets=(TARGET, "aggressive/noop")).run(5)
    assert production(run) == "v000002"


def test_it_waits_for_neither_resources_nor_a_free_turn_and_goes_before_what_is_asked(run):
    requests.drop(run.run_dir, Request("try", 1, Action.ENQUEUE, TARGET, params={"skill": 0.7}))
    server_goes_back(run.run_dir, TARGET)
    run.run(4, admission=lambda: Admission(False, "nothing is free"))
    assert lines(run)[3].rollbacks == ("v000003",)


def test_a_command_on_a_stopped_run_follows_it_too(run):
    server_goes_back(run.run_dir, TARGET)
    run.run(9, requests_only=True)
    assert (len(lines(run)), production(run)) == (4, "v000002")


def test_a_rollback_of_the_operators_to_a_version_that_is_out_by_then_is_judged_when_its_line_comes(run):
    requests.drop(run.run_dir, Request("by hand", 1, Action.ROLLBACK, TARGET, seen="v000003"))
    server_goes_back(run.run_dir, TARGET)
    run.run(5)
    assert [line.reason for line in lines(run)[3:]] == [Reason.DEGRADED, Reason.INCUMBENT_GONE]
    assert production(run) == "v000002"


def test_a_way_back_whose_file_is_gone_leads_to_the_one_before(run):
    server_goes_back(run.run_dir, TARGET)
    store = ModelStore(run.run_dir)
    store.path(lines(run)[1].model_sha256, MODEL_SUFFIX).unlink()
    run.run(4)
    assert production(run) == "v000001"


def test_a_damaged_model_that_the_server_is_rid_of_does_not_stop_the_run(run):
    server_goes_back(run.run_dir, TARGET, cause=Cause.HARD_FAULT)
    ModelStore(run.run_dir).path(lines(run)[2].model_sha256, MODEL_SUFFIX).unlink()
    run.run(5)
    assert lines(run)[3].reason is Reason.HARD_FAULT


@pytest.fixture
def against_a_weak_one(tmp_path) -> SmallRun:
    return promote_three(tmp_path / "run", (0.45, 0.6))


def test_a_contest_against_it_ends_inconclusive_and_the_rollback_follows(against_a_weak_one):
    run = against_a_weak_one
    before = run.run(3).target(TARGET)
    in_a_contest(run, lambda: server_goes_back(run.run_dir, TARGET))
    line = lines(run)[3]
    assert line.against == before.incumbent.name
    assert (line.decision.outcome, line.reason, line.promoted) == (
        Outcome.INCONCLUSIVE,
        Reason.INCUMBENT_GONE,
        False,
    )
    run.run(5)
    assert lines(run)[4].rollbacks == (before.incumbent.name,)
    assert production(run) == before.history[-1]


def test_without_a_rollback_that_contest_is_won(against_a_weak_one):
    in_a_contest(against_a_weak_one, lambda: None)
    assert lines(against_a_weak_one)[3].promoted


def test_a_rollback_of_another_version_ends_no_contest(against_a_weak_one):
    run = against_a_weak_one
    in_a_contest(run, lambda: server_goes_back(run.run_dir, TARGET, None, "v000001"))
    assert lines(run)[3].promoted
