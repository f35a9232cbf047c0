"""Commands on a run folder that no supervisor works in: answered from the files, or carried out at once."""

import hashlib
import json
import os
import re
import signal
from unittest import mock

import pytest

from supervisor.console import outcome_for_people
from supervisor.contract import Reason
from supervisor.journal import requests
from supervisor.journal.events import Events
from supervisor.journal.requests import Action
from supervisor.registry.active import ActiveFile
from tests.support.command_line import TARGETS, NoopFolder, call


@pytest.fixture
def run(finished_run, tmp_path):
    return finished_run.copy(tmp_path)


@pytest.fixture
def fresh(tmp_path):
    return NoopFolder.make(tmp_path)


def active(run, target):
    return ActiveFile.read(run.run_dir).targets[target]


def promotions(run, target):
    """The versions that were the target's incumbent, in order."""
    return [line.version for line in run.lines() if line.target == target and line.promoted]


def promoted_twice(run):
    return next(target for target in TARGETS if len(promotions(run, target)) > 1)


def bytes_of(run):
    return {path: path.read_bytes() for path in run.run_dir.rglob("*") if path.is_file()}


# looking


def test_status_as_json_is_what_the_log_says(finished_run):
    answer = finished_run.call("status", "--json")
    assert answer.code == 0
    status = answer.json()
    lines = finished_run.lines()
    assert status["iteration"] == lines[-1].iteration == 12
    assert status["total_games"] == sum(line.games for line in lines)
    assert status["running"] is False
    assert status["pid"] is None
    assert status["paused"] is False
    assert status["in_flight"] == []
    for target in TARGETS:
        shown = status["targets"][target]
        last = [line for line in lines if line.target == target][-1]
        assert shown["incumbent"] == promotions(finished_run, target)[-1]
        assert shown["best_win_rate"] == last.best_win_rate
        assert shown["fresh_games"] == last.pool.games
        assert 0 <= shown["ci_low"] < last.best_win_rate < shown["ci_high"] <= 1
        assert shown["iterations"] == 6
        assert shown["promotions"] == len(promotions(finished_run, target)) - 1
    assert status["best_target"] == max(TARGETS, key=lambda target: status["targets"][target]["best_win_rate"])


def test_status_fits_a_terminal_of_80_columns(finished_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    answer = finished_run.call("status")
    assert answer.code == 0
    for target in TARGETS:
        assert re.search(rf"^{target} +{promotions(finished_run, target)[-1]} ", answer.out, re.MULTILINE)
    assert re.search(r"^not running; iteration 12, \d+ games$", answer.out, re.MULTILINE)
    assert all(len(line) <= 80 for line in answer.out.splitlines())
    assert "…" not in answer.out


def test_in_a_narrow_terminal_the_end_of_a_line_is_cut_and_never_its_number(finished_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "45")
    shown = finished_run.call("status").out
    for line in finished_run.lines()[-5:]:
        assert re.search(rf"^#{line.iteration} +{line.target} ", shown, re.MULTILINE)


def test_into_a_pipe_nothing_is_cut(finished_run, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = finished_run.call("status").out
    for line in finished_run.lines()[-5:]:
        assert outcome_for_people(line) in shown


@pytest.mark.parametrize("port", ["0", "-1", "99999"])
def test_a_port_that_no_dashboard_can_have_is_refused(finished_run, port):
    answer = finished_run.call("dashboard", f"--port={port}")
    assert answer.code == 2
    assert f"--port {port}: give one from 1 to 65535" in answer.err


def test_a_dry_run_prints_the_plan_and_writes_nothing(finished_run, tmp_path):
    before = bytes_of(finished_run)
    answer = finished_run.call_with_config("run", "--dry-run", "--max-iterations", "20")
    assert answer.code == 0
    assert "until iteration 20" in answer.out
    for target in TARGETS:
        assert re.search(rf"^{target} +spsa .*{promotions(finished_run, target)[-1]}", answer.out, re.MULTILINE)
    assert bytes_of(finished_run) == before
    fresh = call("run", "--dry-run", "--run-dir", str(tmp_path / "none"))
    assert fresh.code == 0
    assert re.search(r"^aggressive/combat_dqn +baseline", fresh.out, re.MULTILINE)
    assert not (tmp_path / "none").exists()


def test_validate_shows_every_value_with_its_source(finished_run):
    answer = call("validate", str(finished_run.config), "--show")
    assert answer.code == 0
    assert re.search(rf"^run\.seed +7 +file {finished_run.config}:4:9 +decides$", answer.out, re.MULTILINE)
    assert re.search(r"^run\.checkpoint_interval +10 +default$", answer.out, re.MULTILINE)
    assert answer.out.splitlines()[-1].endswith("2 targets: aggressive/noop, mage/noop")


def test_the_best_configuration_starts_a_run_of_its_own(run, tmp_path):
    answer = call("run", "--run-dir", str(tmp_path / "new"), "--config", str(run.run_dir / "config.yaml"), "--dry-run")
    assert answer.code == 0
    assert all(target in answer.out for target in TARGETS)


def test_doctor_checks_the_installation_and_lists_every_mistake_of_the_configuration(finished_run, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("run: {seed: x, games: 0}\n")
    answer = finished_run.call("doctor", "--config", str(path), "--json")
    assert answer.code == 1
    findings = answer.json()["findings"]
    mistakes = [finding["text"] for finding in findings if finding["name"] == "configuration"]
    assert len(mistakes) == 2
    assert all(text.startswith(f"{path}:1:") for text in mistakes)
    others = {finding["name"]: finding for finding in findings if finding["name"] != "configuration"}
    assert others["python"]["ok"] is True
    assert others["onnxruntime"]["ok"] is True
    assert others["trial process"]["ok"] is True, others["trial process"]["text"]
    assert others["run folder"]["text"].startswith(str(finished_run.run_dir))
    assert answer.json()["ok"] is False


# taking out


def test_export_writes_the_incumbents_model(run, tmp_path):
    out = tmp_path / "model.onnx"
    answer = run.call("export", "mage/noop", str(out))
    assert answer.code == 0
    entry = active(run, "mage/noop")
    assert hashlib.sha256(out.read_bytes()).hexdigest() == entry.model_sha256
    assert entry.version in answer.out


def test_export_writes_an_earlier_version_on_request(run, tmp_path):
    target = promoted_twice(run)
    first = promotions(run, target)[0]
    answer = run.call("export", target, str(tmp_path / "first.onnx"), "--version", first)
    assert answer.code == 0
    sha256 = next(line.model_sha256 for line in run.lines() if line.version == first)
    assert hashlib.sha256((tmp_path / "first.onnx").read_bytes()).hexdigest() == sha256


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["mage/none"], "targets with versions: aggressive/noop, mage/noop"),
        (["mage/noop", "--version", "v9"], "v000002"),
    ],
)
def test_export_of_what_is_not_there_says_what_is(run, tmp_path, arguments, named):
    target, *rest = arguments
    answer = run.call("export", target, str(tmp_path / "model.onnx"), *rest)
    assert answer.code == 2
    assert named in answer.err
    assert not (tmp_path / "model.onnx").exists()


def test_a_damaged_model_file_is_not_exported(run, tmp_path):
    path = run.run_dir / "models" / f"{active(run, 'mage/noop').model_sha256}.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    answer = run.call("export", "mage/noop", str(tmp_path / "model.onnx"))
    assert answer.code == 2
    assert not (tmp_path / "model.onnx").exists()


# changing


def test_promote_is_an_iteration_of_its_own_and_changes_production(run):
    target = promoted_twice(run)
    first, present = promotions(run, target)[0], promotions(run, target)[-1]
    answer = run.call_with_config("promote", target, first)
    assert answer.code == 0, answer.err
    last = run.lines()[-1]
    assert (last.iteration, last.target, last.sampler) == (13, target, "manual")
    assert last.reason is Reason.MANUAL_PROMOTION
    assert last.version == first
    assert active(run, target).version == first != present
    assert f"promoted by the operator -> {first}" in answer.out


def test_rollback_goes_to_the_version_before_and_the_present_one_never_comes_back(run):
    target = promoted_twice(run)
    *_, before, present = promotions(run, target)
    assert run.call_with_config("rollback", target).code == 0
    assert active(run, target).version == before
    assert run.lines()[-1].reason is Reason.MANUAL_ROLLBACK
    again = run.call_with_config("promote", target, present)
    assert again.code == 2
    assert "was rolled back and never comes back" in again.err
    assert run.lines()[-1].reason is Reason.MANUAL_ROLLBACK  # refused without an iteration
    the_incumbent = run.call_with_config("promote", target, before)
    assert (the_incumbent.code, "is the incumbent" in the_incumbent.out) == (0, True)
    assert run.lines()[-1].reason is Reason.MANUAL_ROLLBACK
    assert active(run, target).version == before


def test_a_rollback_without_an_earlier_version_is_refused_at_once(fresh):
    assert fresh.call_with_config("run", "--max-iterations", "2").code == 0
    answer = fresh.call_with_config("rollback", "mage/noop")
    assert answer.code == 2
    assert "mage/noop has no earlier version" in answer.err
    assert requests.waiting(fresh.run_dir) == ([], [])


def test_a_command_is_no_change_of_the_runs_settings(run):
    before = (run.run_dir / "run.json").read_bytes()
    target = promoted_twice(run)
    (run.config.parent / "other.yaml").write_text(run.config.read_text() + "search: {sampler: tpe}\n")
    answer = run.call("rollback", target, "--config", str(run.config.parent / "other.yaml"))
    assert answer.code == 0
    assert (run.run_dir / "run.json").read_bytes() == before
    assert "settings_changed" not in run.events()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["promote", "mage/noop", "v000099"], "v000002"),
        (["promote", "mage/combat_dqn", "v000001"], "its targets: aggressive/noop, mage/noop"),
        (["rollback", "mage/combat_dqn"], "its targets: aggressive/noop, mage/noop"),
        (["rollback", "mage/noop", "--version", "v000099"], "v000002"),
        (["enqueue", "mage/combat_dqn", "skill=0.5"], "its targets: aggressive/noop, mage/noop"),
        (["enqueue", "mage/noop", "skill=1.5"], "skill"),
        (["enqueue", "mage/noop", "skil=0.5"], "did you mean 'skill'?"),
        (["enqueue", "mage/noop", "skill"], "name=value"),
        (["enqueue", "mage/noop", "skill=0.1", "skill=0.2"], "skill: given twice"),
    ],
)
def test_what_cannot_be_done_is_said_at_once_and_leaves_no_request(run, arguments, named):
    answer = run.call_with_config(*arguments)
    assert answer.code == 2
    assert named in answer.err
    assert requests.waiting(run.run_dir) == ([], [])
    assert len(run.lines()) == 12


def test_a_target_of_ones_own_needs_the_runs_configuration_and_the_answer_says_so(run):
    answer = run.call("promote", "mage/noop", "v000002")
    assert answer.code == 3
    assert f"give the --config that {run.run_dir} was started with" in answer.err


def test_promote_while_paused_waits_and_says_so(run):
    target = promoted_twice(run)
    assert "noted for the next start" in run.call("pause").out
    answer = run.call_with_config("promote", target, promotions(run, target)[0])
    assert answer.code == 0
    assert "it waits: the run is paused" in answer.out
    assert len(run.lines()) == 12
    run.call("resume")
    assert run.call_with_config("run", "--max-iterations", "13").code == 0
    assert run.lines()[-1].reason is Reason.MANUAL_PROMOTION


def test_a_rollback_that_is_interrupted_says_so_and_the_same_command_does_it_once(run, monkeypatch):
    target = promoted_twice(run)
    *_, before, _ = promotions(run, target)
    write = Events.write

    def interrupt(events, event, reason):
        write(events, event, reason)
        if event == "start":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Events, "write", interrupt)
    answer = run.call_with_config("rollback", target)
    assert answer.code == 130
    assert "interrupted before it was done" in answer.out
    assert len(run.lines()) == 12
    monkeypatch.setattr(Events, "write", write)
    assert run.call_with_config("rollback", target).code == 0
    assert active(run, target).version == before
    assert len(run.lines()) == 13
    assert requests.waiting(run.run_dir) == ([], [])


def test_an_enqueued_candidate_is_tried_at_the_next_start(run):
    answer = run.call_with_config("enqueue", "mage/noop", "skill=0.9", "whole=7")
    assert answer.code == 0
    assert "mage/noop: skill=0.9, whole=7 is tried at the next start" in answer.out
    assert run.call_with_config("run", "--single-iteration").code == 0
    line = run.lines()[-1]
    assert (line.iteration, line.sampler, line.params["skill"], line.params["whole"]) == (13, "enqueued", 0.9, 7)


def test_stop_without_a_supervisor_says_so_and_leaves_nothing_behind(run):
    answer = run.call("stop")
    assert answer.code == 0
    assert "no supervisor runs" in answer.out
    assert requests.waiting(run.run_dir) == ([], [])


# targets that come and go


class Killed(BaseException):
    """Stands for SIGKILL inside this process: nothing in between may catch it."""


def killed(folder):
    raise Killed


def test_a_trial_in_flight_is_finished_when_its_target_is_no_longer_searched(run, tmp_path):
    undisturbed = run.copy(tmp_path / "undisturbed")
    undisturbed.call_with_config("run", "--max-iterations", "13")
    expected = undisturbed.lines()[12]
    with mock.patch("tests.support.command_line.work", killed), pytest.raises(Killed):
        run.call_with_config("run", "--max-iterations", "13")
    [other] = set(TARGETS) - {expected.target}
    answer = run.call_with_config("run", "--max-iterations", "15", "--targets", other)
    assert answer.code == 0, answer.err
    finished, *after = run.lines()[12:]
    assert (finished.target, finished.delta, finished.decision) == (expected.target, expected.delta, expected.decision)
    assert [line.target for line in after] == [other] * 2
    assert f"{expected.target} is no longer searched" in answer.out


def test_a_request_for_a_target_that_is_not_searched_waits_for_a_start_that_does(run):
    assert run.call_with_config("enqueue", "mage/noop", "skill=0.9").code == 0
    assert run.call_with_config("run", "--max-iterations", "14", "--targets", "aggressive/noop").code == 0
    assert {line.target for line in run.lines()[12:]} == {"aggressive/noop"}
    assert "request_waits" in run.events()
    [waiting], _ = requests.waiting(run.run_dir)
    assert waiting.action is Action.ENQUEUE
    assert run.call_with_config("run", "--max-iterations", "15").code == 0
    assert run.lines()[-1].sampler == "enqueued"


def test_a_changed_setting_is_an_event_in_words(run):
    answer = run.call_with_config("run", "--max-iterations", "13", "--games", "40")
    assert answer.code == 0
    assert "settings_changed: run.games: not set -> 40; applies from the next iteration" in answer.out
    assert run.lines()[-1].run_id == run.lines()[0].run_id
    assert json.loads((run.run_dir / "run.json").read_bytes())["decides"]["run.games"] == 40
