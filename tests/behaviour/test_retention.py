"""What a run folder keeps, and that what goes is never missed by anybody."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import Reason
from supervisor.journal import requests
from supervisor.journal.log import read_log
from supervisor.journal.requests import Action, Request
from supervisor.journal.trial_folder import TrialFolder
from supervisor.registry.active import ActiveFile
from supervisor.registry.store import ModelStore
from supervisor.retention import Kind, Limits, in_flight, needed_files, needless, old_console_logs
from supervisor.search import spsa
from tests.support.kill_matrix import killed_at_each_step
from tests.support.small_run import SmallRun, comparable
from trainers import worker

KEEP_ONE = {"run": {"retention_versions": 1, "retention_trials": 3}, "promotion": {"min_improvement": 0.0}}


def lines(run):
    return read_log(run.run_dir).records


def files(run):
    return {path.name for path in (run.run_dir / "models").iterdir()} - {"active.json"}


def folders(run):
    return sorted(int(path.name) for path in (run.run_dir / "trials").iterdir())


def enqueue(run, iteration, skill, target="mage/noop"):
    requests.drop(run.run_dir, Request(f"try-{iteration}", iteration, Action.ENQUEUE, target, params={"skill": skill}))
    return run.run(iteration)


def promoted_often(run):
    """One target that gets better and better: versions v1 to v6, each with a model and weights of its own."""
    state = run.run(1)
    for iteration, skill in enumerate((0.45, 0.6, 0.75, 0.9, 1.0), start=2):
        state = enqueue(run, iteration, skill)
    assert state.target("mage/noop").incumbent.name == "v000006"
    return state


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path / "run", targets=("mage/noop",), settings=KEEP_ONE)


def names_kept(run, state):
    target = state.target("mage/noop")
    return {name for name, version in target.versions.items() if ModelStore(run.run_dir).has(version)}


def test_of_each_target_the_incumbent_and_the_last_versions_keep_their_files(run):
    assert names_kept(run, promoted_often(run)) == {"v000005", "v000006"}
    assert len(files(run)) == 4


def test_the_file_that_a_rollback_goes_to_is_there_however_many_went_before(run):
    state = promoted_often(run)
    requests.drop(run.run_dir, Request("back", 1, Action.ROLLBACK, "mage/noop"))
    state = run.run(7)
    assert state.target("mage/noop").incumbent.name == "v000005"
    assert ActiveFile.read(run.run_dir).targets["mage/noop"].version == "v000005"
    assert "v000005" in names_kept(run, state)


@pytest.mark.parametrize("version", ["v000002", None])
def test_a_change_to_a_version_whose_file_is_gone_is_refused_in_a_line(run, version):
    state = promoted_often(run)
    if version is None:  # the second rollback would need v000004
        requests.drop(run.run_dir, Request("back", 1, Action.ROLLBACK, "mage/noop"))
        state = run.run(7)
    action = Action.PROMOTE if version else Action.ROLLBACK
    requests.drop(run.run_dir, Request("far", 1, action, "mage/noop", version))
    before = state.target("mage/noop").incumbent
    state = run.run(state.iteration + 1)
    assert lines(run)[-1].reason is Reason.FILE_GONE
    assert state.target("mage/noop").incumbent == before
    assert "refused: its model file is gone" in run.said[-1]


def test_a_version_named_by_a_trial_in_flight_keeps_its_file(run):
    """With a window, a trial may have started from an incumbent that was replaced twice since."""
    promoted_often(run)
    states = [run.run(6)]
    old = states[0].target("mage/noop").versions["v000002"]
    folder = TrialFolder.of(run.run_dir, 7)
    folder.create(replace(TrialFolder.of(run.run_dir, 6).spec(), iteration=7, start=old))
    assert old.model_sha256 not in needed_files(states, [], 1)
    assert old.model_sha256 in needed_files(states, in_flight(run.run_dir, 6), 1)
    (folder.path / "trial.json").write_text("{")  # nobody knows what it needs: nothing goes
    (run.run_dir / "models" / f"{'0' * 64}.onnx").write_bytes(b"unused")
    assert not [item for item in needless(run.run_dir, states, Limits(3, 1, 5)) if item.kind is Kind.MODELS]


def test_the_version_that_half_a_pair_started_from_keeps_its_file_for_the_other_half(run):
    state = promoted_often(run)
    target = state.target("mage/noop")
    note = spsa.Note(1, "+", 0, 2, "v000002", {}, "", 0.1, 0.1, "")
    halfway = replace(target.search.spsa, open=spsa.Half(note, 0.5, 0, {}))
    waiting = replace(target, search=replace(target.search, spsa=halfway))
    gained = needed_files([replace(state, targets={"mage/noop": waiting})], [], 1) - needed_files([state], [], 1)
    assert gained == {target.versions["v000002"].model_sha256, target.versions["v000002"].weights_sha256}


def test_the_incumbent_of_a_state_that_proposals_are_still_made_from_keeps_its_file(run):
    before = run.run(1)
    now = promoted_often(run)
    old = before.target("mage/noop").incumbent
    assert old.model_sha256 not in needed_files([now], [], 1)
    assert needed_files([before, now], [], 1) >= {old.model_sha256, old.weights_sha256}


def test_every_trial_finds_the_weights_it_starts_from_with_a_window_and_one_version_kept(tmp_path):
    """The promise itself, over a hundred iterations with many promotions, rollbacks among them."""
    missing = []

    def looking(folder):
        spec = json.loads(Path(folder, "trial.json").read_bytes())
        for version in (spec["start"], spec["incumbent"]):
            for suffix, sha256 in ((".onnx", "model_sha256"), (".pt", "weights_sha256")):
                if version and not ModelStore(run.run_dir).path(version[sha256], suffix).is_file():
                    missing.append((spec["iteration"], version["name"]))
        return worker.main(folder)

    run = SmallRun(tmp_path / "run", window=8, settings=KEEP_ONE)
    for iteration in (30, 60, 100):
        state = run.run(iteration, worker_main=looking, slots=2)
        requests.drop(run.run_dir, Request(f"back-{iteration}", iteration, Action.ROLLBACK, "mage/noop"))
    assert missing == []
    assert sum(len(target.history) for target in state.targets.values()) >= 3


def test_a_run_killed_at_each_step_of_removing_ends_with_the_same_files(tmp_path):
    whole = SmallRun(tmp_path / "whole", targets=("mage/noop",), settings=KEEP_ONE)
    promoted_often(whole)
    base = SmallRun(tmp_path / "base", targets=("mage/noop",), settings=KEEP_ONE)
    base.run(1)
    for iteration, skill in ((2, 0.45), (3, 0.6), (4, 0.75), (5, 0.9)):
        enqueue(base, iteration, skill)
    requests.drop(base.run_dir, Request("try-6", 6, Action.ENQUEUE, "mage/noop", params={"skill": 1.0}))
    run = SmallRun(tmp_path / "run", targets=("mage/noop",), settings=KEEP_ONE)

    def prepare():
        shutil.rmtree(run.run_dir, ignore_errors=True)
        shutil.copytree(base.run_dir, run.run_dir)

    for _ in killed_at_each_step(lambda: run.run(6), prepare, first=0, stride=3):
        run.run(6)
        assert files(run) == files(whole)
        assert folders(run) == folders(whole)
        assert comparable(lines(run)) == comparable(lines(whole))


def test_the_log_does_not_depend_on_what_is_kept(tmp_path):
    runs = [SmallRun(tmp_path / "few", settings=KEEP_ONE), SmallRun(tmp_path / "many")]
    runs[1].settings = {**KEEP_ONE, "run": {"retention_versions": 100, "retention_trials": 100}}
    for run in runs:
        run.run(30)
    assert comparable(lines(runs[0])) == comparable(lines(runs[1]))
    assert files(runs[0]) < files(runs[1])


def test_only_the_last_trials_and_those_that_made_a_version_keep_their_folder(tmp_path):
    run = SmallRun(tmp_path / "run", settings=KEEP_ONE)
    state = run.run(20)
    made = {version.iteration for target in state.targets.values() for version in target.versions.values()}
    assert folders(run) == sorted(made | {18, 19, 20})


def test_a_smaller_figure_applies_at_the_next_start(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(20)
    assert len(folders(run)) == 20
    run.settings = KEEP_ONE
    state = run.run(20)
    made = {version.iteration for target in state.targets.values() for version in target.versions.values()}
    assert folders(run) == sorted(made | {18, 19, 20})


STARTS = ("20260101_120000", "20260102_120000", "20260103_120000", "20260104_120000")


def log_files(run_dir, names: Sequence[str]):
    for name in names:
        (run_dir / name).write_text("x")
    return [run_dir / name for name in names]


def test_the_console_logs_of_the_last_starts_are_kept_rotated_ones_too(tmp_path):
    old = log_files(tmp_path, [f"training_{STARTS[0]}.log.gz", f"training_{STARTS[1]}-20260105.log.gz"])
    old += log_files(tmp_path, [f"training_{STARTS[1]}.log", f"training_{STARTS[1]}.log.1.gz"])
    log_files(tmp_path, [f"training_{stamp}.log" for stamp in STARTS[2:]])
    log_files(tmp_path, ["training_log.jsonl", "training_log-20260101.jsonl.gz", "training_notes.txt"])
    log_files(tmp_path, [f"training_{STARTS[0]}.txt", f"my_training_{STARTS[0]}.log"])
    assert sorted(old_console_logs(tmp_path, 2)) == sorted(old)
    assert old_console_logs(tmp_path, 9) == []


def test_the_log_of_this_start_is_kept_even_where_the_clock_was_set_back(tmp_path):
    paths = log_files(tmp_path, [f"training_{stamp}.log" for stamp in STARTS])
    assert old_console_logs(tmp_path, 2, spare=paths[0]) == paths[1:3]
    assert old_console_logs(tmp_path, 1, spare=paths[0]) == paths[1:]


def test_nothing_that_is_not_ours_is_ever_needless(run):
    state = promoted_often(run)
    ours = [f".{'1' * 32}.json.tmp"]  # of a request, but young: somebody may be writing it
    (run.run_dir / "requests" / ours[0]).write_text("{")
    foreign = ["notes.txt", "models/mine.onnx", "trials/mine/model.onnx", "training_mine.log", ".mine.tmp"]
    for name in foreign:
        (run.run_dir / name).parent.mkdir(exist_ok=True)
        (run.run_dir / name).write_text("x")
    assert needless(run.run_dir, [state], Limits(3, 1, 5)) == []
