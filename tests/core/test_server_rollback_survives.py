"""What the server took back stays so, whenever the supervisor is killed and whatever it loses."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from supervisor.contract import Reason, Version
from supervisor.journal import durable, requests
from supervisor.journal.checkpoint import CHECKPOINT_NAME, PREVIOUS_NAME
from supervisor.journal.log import LOG_NAME, encode
from supervisor.journal.recovery import known_incumbents, known_targets, recover
from supervisor.journal.requests import Action, Request
from supervisor.journal.trial_folder import SPEC_NAME, TrialFolder
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.errors import ApiError
from supervisor.state import State, fold_all
from tests.faults.forked import dies
from tests.faults.killed import die_before
from tests.support.server_said import TARGET, lines, production, promote_three, server_goes_back, told
from tests.support.small_run import SmallRun, comparable
from trainers import worker


@pytest.fixture(scope="module")
def promoted(tmp_path_factory) -> Path:
    return promote_three(tmp_path_factory.mktemp("promoted") / "run", (0.6, 0.95)).run_dir


@pytest.fixture
def run(promoted, tmp_path) -> SmallRun:
    shutil.copytree(promoted, tmp_path / "run")
    return SmallRun(tmp_path / "run", targets=(TARGET,))


@pytest.fixture
def against_a_weak_one(tmp_path) -> SmallRun:
    return promote_three(tmp_path / "run", (0.45, 0.6))


def test_the_log_alone_gives_the_state_and_the_snapshot_alone_does(run):
    server_goes_back(run.run_dir, TARGET, back_to=None)
    state = run.run(6)
    assert fold_all(State(), lines(run)) == state
    shutil.rmtree(run.run_dir / "serving")
    log = (run.run_dir / LOG_NAME).read_bytes()
    (run.run_dir / LOG_NAME).unlink()
    assert recover(run.run_dir, "run", 1).state == state
    (run.run_dir / LOG_NAME).write_bytes(log)
    (run.run_dir / CHECKPOINT_NAME).unlink()
    (run.run_dir / PREVIOUS_NAME).unlink()
    assert recover(run.run_dir, "run", 1).state == state


def test_a_proposal_that_was_damaged_is_made_again_from_its_fact(run):
    server_goes_back(run.run_dir, TARGET)
    killed_before(run, "open_append training_log.jsonl")
    folder = TrialFolder.of(run.run_dir, 4)
    (folder.path / SPEC_NAME).write_bytes(b"{")
    (run.run_dir / "serving" / "rollbacks.jsonl").unlink()  # it is never asked again
    run.run(4)
    assert lines(run)[3].rollbacks == ("v000003",)


def killed_before(run: SmallRun, wanted: str) -> None:
    """One start that is killed before this durable operation."""

    def work() -> None:
        def die(operation: str, path: Path) -> None:
            if f"{operation} {path.relative_to(run.run_dir)}" == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

        durable.failpoint = die
        run.run(4)

    assert dies(work)


def test_lines_that_went_with_the_snapshots_are_followed_again(run):
    server_goes_back(run.run_dir, TARGET)
    run.run(5)
    held = lines(run)
    for name in (CHECKPOINT_NAME, PREVIOUS_NAME):
        (run.run_dir / name).unlink(missing_ok=True)
    (run.run_dir / LOG_NAME).write_bytes(b"".join(encode(line) for line in held[:3]))
    run.run(5)
    assert comparable(lines(run)) == comparable(held)
    assert not list((run.run_dir / "requests").glob("*.json"))


def kill_everywhere(run_dir: Path, scratch: Path, served: str | None) -> int:
    """kill -9 at each durable operation of a start up to iteration 5, and the start after it: the same lines, told
    once, and whatever moment a server starts at, it serves `served`. The number of kills."""
    undisturbed = SmallRun(scratch / "undisturbed", targets=(TARGET,))
    shutil.copytree(run_dir, undisturbed.run_dir)
    undisturbed.run(5)
    died = number = 0
    while died == number:
        run = SmallRun(scratch / str(number), targets=(TARGET,))
        shutil.copytree(run_dir, run.run_dir)
        died += dies(partial(killed_start, run, number))
        if died > number and len(lines(run)) < 5:
            assert served_now(run.run_dir) == served, number
        run.run(5)
        assert comparable(lines(run)) == comparable(lines(undisturbed)), number
        assert len(told(run)) == 1, number
        assert production(run) == production(undisturbed), number
        number += 1
    return died


def killed_start(run: SmallRun, number: int) -> None:
    die_before(number)
    run.run(5)


def served_now(run_dir: Path) -> str | None:
    """What a server that starts now serves, and one that is told to reload."""
    catalogue = Catalogue(run_dir)
    found = catalogue.all_active().get(TARGET)
    if isinstance(found, Version):
        assert catalogue.resolve(TARGET, None) == found
        return found.name
    with pytest.raises(ApiError) as refused:
        catalogue.resolve(TARGET, None)
    assert (found, refused.value.status, refused.value.code) == (None, 404, "not_active")
    return None


@pytest.mark.parametrize(
    ("back_to", "served"), [("before", "v000002"), pytest.param(None, None, marks=pytest.mark.slow)]
)
def test_killed_before_any_durable_operation_it_is_followed_exactly_once(run, tmp_path, back_to, served):
    server_goes_back(run.run_dir, TARGET, back_to)
    assert kill_everywhere(run.run_dir, tmp_path, served) > 20


def test_killed_anywhere_a_contest_against_it_ends_in_the_same_lines(against_a_weak_one, tmp_path):
    run = against_a_weak_one
    requests.drop(run.run_dir, Request("better", 1, Action.ENQUEUE, TARGET, params={"skill": 1.0}))
    killed_before(run, "open_append training_log.jsonl")  # the contest is won
    server_goes_back(run.run_dir, TARGET)
    assert kill_everywhere(run.run_dir, tmp_path / "killed", "v000002") > 20
    undisturbed = SmallRun(tmp_path / "killed" / "undisturbed")
    assert [line.reason for line in lines(undisturbed)[3:]] == [Reason.INCUMBENT_GONE, Reason.DEGRADED]


def test_one_line_follows_it_however_many_trials_are_in_flight_before_that_line(tmp_path):
    run = SmallRun(tmp_path / "run", window=8, targets=(TARGET, "aggressive/noop"))
    state = run.run(12)
    key = next(key for key in run.targets if state.target(key).history)

    def work(folder: str) -> int:
        if not (run.run_dir / "serving").exists():
            server_goes_back(run.run_dir, key)
        return worker.main(folder)

    state = run.run(24, worker_main=work, slots=4)
    [consumed] = [line for line in lines(run) if line.rollbacks]
    assert (consumed.target, consumed.iteration > 13) == (key, True)
    assert fold_all(State(), lines(run)) == state


def test_readers_beside_the_supervisor_learn_that_a_target_has_no_version_any_more(run):
    server_goes_back(run.run_dir, TARGET, back_to=None)
    run.run(4)
    for name in (CHECKPOINT_NAME, PREVIOUS_NAME):
        (run.run_dir / name).unlink(missing_ok=True)
    assert known_incumbents(run.run_dir) == {}
    assert known_targets(run.run_dir)[TARGET].rolled_back == ("v000003",)
