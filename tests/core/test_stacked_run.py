"""`run.stacked`: trials that train as one batch write the lines that each of them writes alone, whatever goes wrong."""

import json
import shutil
from dataclasses import replace

import pytest

from supervisor.execution.device import Card
from supervisor.execution.room import GpuRoom, Room, fits
from supervisor.journal.log import read_log
from supervisor.journal.trial_folder import TrialFolder, all_folders
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.space import Parameter, Space
from tests.support.inline_executor import InlineExecutor
from tests.support.kill_matrix import killed_at_each_step
from tests.support.small_run import SmallRun, comparable
from trainers import arena_target, worker
from trainers.models.combat_dqn import FIGHTS
from trainers.target import StopRequested

TARGET, WORKERS, ITERATIONS, ROWS = "aggressive/combat_dqn", 4, 17, 16
STRIDE = 41  # durable steps from one kill to the next
CHEAP = {"dqn.hidden": "16", "dqn.batch_size": 32, "dqn.updates": 1, "dqn.learning_starts": 8, "dqn.replay_rows": 8}
SETTINGS = {
    "run": {"games": 5, "baseline_games": 5},
    "search": {"sampler": "random"},
    "promotion": {"max_pairs": 10, "measure_pairs": 10, "topup_games": 0},
}


def harsh():
    """Some of its proposals make no training, some one that diverges."""
    found = load_definitions([BUILT_IN], [TARGET], "small")[TARGET]
    space = Space(
        (
            Parameter("dqn.n_step", "int", default=3, low=1, high=10),  # refused from 8 on
            Parameter("training.learning_rate", "float", default=1e-3, low=1e-4, high=1e12, log=True),
        )
    )
    rest = {name: value for name, value in found.defaults().items() if name not in space}
    return replace(found, space=space, fixed={**rest, **CHEAP}, steps=ROWS * FIGHTS)


def run_on(run_dir, stacked=True, iterations=ITERATIONS, slots=WORKERS, cpus=1, definitions=None, **how):
    definitions = definitions or {TARGET: harsh()}
    settings = {**SETTINGS, "run": {**SETTINGS["run"], "stacked": stacked}}
    run = SmallRun(run_dir, targets=(TARGET,), window=4 * WORKERS, settings=settings, definitions=definitions)
    run.run(iterations, slots=slots, cpus=cpus, **how)
    return run_dir


def lines(run_dir):
    return comparable(read_log(run_dir).records)


def groups(run_dir):
    """What each process with a group trained, its own trial first, and whether it ended amidst that."""
    exits = [(folder.iteration, fact) for folder in all_folders(run_dir) for fact in folder.facts()]
    return [((own, *fact["group"]), fact["shared"]) for own, fact in exits if "group" in fact]


def trained_by_themselves(run_dir):
    return {line.iteration for line in read_log(run_dir).records if "training_step_s" in line.time["latency"]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return lines(run_on(tmp_path_factory.mktemp("alone") / "run", stacked=False))


def test_candidates_that_fail_cost_only_themselves(tmp_path, alone):
    run_dir = run_on(tmp_path / "run")
    assert lines(run_dir) == alone
    in_groups = {iteration for group, _ in groups(run_dir) for iteration in group}
    complete = {line["iteration"] for line in alone if line["status"] == "complete"}
    assert groups(run_dir)[:2] == [((1, 2, 3, 4), False), ((5, 6, 7, 8), False)]
    assert len(complete & in_groups) > 5
    assert trained_by_themselves(run_dir) == complete - in_groups
    assert {line["reason"] for line in alone} >= {"diverged", "out_of_range"}
    assert all(line.time["attempts"] == 1 for line in read_log(run_dir).records)


def test_nothing_is_stacked_where_every_worker_has_a_cpu(tmp_path, alone):
    run_dir = run_on(tmp_path / "run", cpus=WORKERS)
    assert lines(run_dir) == alone
    assert groups(run_dir) == []


def test_whoever_trains_in_the_process_of_another_is_noted_on_its_gpu_and_goes_on_on_its_like(tmp_path):
    cards = Card(0, "GPU-one", "Old"), Card(1, "GPU-two", "New")
    room = Room(1e9, tuple(GpuRoom(card, 1000 * card.index, 0.0) for card in cards))
    definitions = {TARGET: replace(harsh(), device="cuda")}
    run_on(tmp_path, iterations=4, definitions=definitions, room=lambda *asked: fits(*asked, room))
    assert groups(tmp_path)[0] == ((1, 2, 3, 4), False)
    noted = [[fact["name"] for fact in folder.facts() if fact["fact"] == "device"] for folder in all_folders(tmp_path)]
    assert noted == [["New"]] * 4


class Failing(InlineExecutor):
    """The process of one trial ends in the midst of its group's trainings, as often as it is told to."""

    def __init__(self, error, iteration, times=1):
        super().__init__(self._work, WORKERS)
        self._error, self._iteration, self._left = error, iteration, times

    def _work(self, folder):
        if self._left and folder.endswith(f"{self._iteration:06d}"):
            self._left -= 1
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(arena_target, "SAVE_INTERVAL_S", -1.0)
                patch.setattr("trainers.together.SAVE_SHARE", 1e9)
                patch.setattr("trainers.control.FolderControl.beat", lambda control, step: self._beat(step))
                return worker.main(folder)
        return worker.main(folder)

    def _beat(self, step):
        if step > ROWS * FIGHTS * 3 // 4:
            raise self._error


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_when_the_process_of_a_group_dies_its_trials_go_on_from_what_it_saved(tmp_path, alone, error):
    run_dir = run_on(tmp_path / "run", executor=Failing(error, 1))
    assert lines(run_dir) == alone
    assert groups(run_dir)[:2] == [((1, 2, 3, 4), True), ((5, 6, 7, 8), False)]
    first = read_log(run_dir).records[0]
    assert (first.time["attempts"], first.status) == (1, "complete")
    assert 1 in trained_by_themselves(run_dir)


def test_stopped_amidst_its_trainings_a_group_comes_together_again(tmp_path, alone):
    run_dir = run_on(tmp_path / "run", executor=Failing(StopRequested, 1, times=2))
    assert lines(run_dir) == alone
    assert groups(run_dir)[:3] == [((1, 2, 3, 4), True), ((1, 2, 3, 4), True), ((1, 2, 3, 4), False)]


class Killed(BaseException):
    """The supervisor and all its trials are gone at once."""


def test_killed_with_a_group_the_supervisor_goes_on_with_it_from_what_it_saved(tmp_path, alone):
    with pytest.raises(Killed):
        run_on(tmp_path / "run", executor=Failing(Killed, 1))
    steps = [json.loads((folder.path / "progress.json").read_bytes())["current"]["step"] for folder in well(tmp_path)]
    assert 0 < min(steps) <= max(steps) < ROWS * FIGHTS
    run_dir = run_on(tmp_path / "run")
    assert lines(run_dir) == alone
    assert groups(run_dir)[0] == ((1, 2, 3, 4), False)


def well(tmp_path):
    """Folders of the first group's trials that have not diverged."""
    return [TrialFolder.of(tmp_path / "run", iteration) for iteration in (1, 4)]


def test_other_workers_and_no_stacking_at_the_next_start_change_nothing(tmp_path, alone):
    with pytest.raises(Killed):
        run_on(tmp_path / "run", executor=Failing(Killed, 1))
    run_dir = run_on(tmp_path / "run", stacked=False, slots=2)
    assert lines(run_dir) == alone
    assert groups(run_dir) == []
    assert not list(run_dir.glob("trials/*/group.json"))


@pytest.mark.slow
def test_killed_at_any_of_its_durable_steps_it_goes_on_to_the_same_lines(tmp_path, alone, monkeypatch):
    monkeypatch.setattr(arena_target, "SAVE_INTERVAL_S", -1.0)
    monkeypatch.setattr("trainers.together.SAVE_SHARE", 1e9)
    run_dir, iterations = tmp_path / "run", WORKERS + 1
    deaths = 0
    for _ in killed_at_each_step(
        work=lambda: run_on(run_dir, iterations=iterations),
        prepare=lambda: shutil.rmtree(run_dir, ignore_errors=True),
        stride=STRIDE,
    ):
        run_on(run_dir, iterations=iterations)
        assert lines(run_dir) == alone[:iterations]
        deaths += 1
    assert deaths > 10
