"""`run.stacked` with real processes on one CPU: stopped and killed amidst a group's trainings, with the same log."""

import json
import os
import signal

import pytest

from supervisor.journal.log import read_log
from supervisor.journal.trial_folder import all_folders
from tests.support.processes import finish, kill, start, wait_for
from tests.support.small_run import comparable

FLAGS = (
    "--targets",
    "aggressive/combat_dqn",
    "--seed",
    "7",
    "--max-iterations",
    "6",
    "--games",
    "20",
    "--workers",
    "4",
)
SHORT = {
    "INCUMBENT_BUDGETS__STEPS": "60000",
    "INCUMBENT_BUDGETS__RAM_MB": "1024",
    "INCUMBENT_PROMOTION__MAX_PAIRS": "20",
    "INCUMBENT_PROMOTION__MEASURE_PAIRS": "20",
    "OMP_NUM_THREADS": "1",
}
FIRST = (1, 2, 3, 4)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def one_cpu():
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # what is started has no other, and knows it
    yield
    os.sched_setaffinity(0, cpus)


def begin(run_dir, stacked=True):
    return start(run_dir, *FLAGS, environ={**SHORT, "INCUMBENT_RUN__STACKED": str(stacked).lower()}, trains=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("alone") / "run"
    finish(begin(run_dir, stacked=False), run_dir)
    assert groups(run_dir) == []
    return run_dir


def groups(run_dir):
    exits = [(folder.iteration, fact) for folder in all_folders(run_dir) for fact in folder.facts()]
    return [(own, *fact["group"]) for own, fact in exits if "group" in fact]


def folder_of(run_dir, iteration):
    return run_dir / "trials" / f"{iteration:06d}"


def step_of(run_dir, iteration):
    """How far a training is; each of a group says so in its own folder."""
    path = folder_of(run_dir, iteration) / "heartbeat"
    return int((path.read_text().strip() if path.exists() else "") or 0)


def wait_for_group(run_dir):
    """In the midst of it: another's trial than that whose process it is says how far it is."""
    wait_for("the first group trains", lambda: any(step_of(run_dir, iteration) for iteration in FIRST[1:]))


def forget_heartbeats(run_dir):
    for iteration in FIRST:
        (folder_of(run_dir, iteration) / "heartbeat").unlink(missing_ok=True)


def points(run_dir):
    """Steps of the resume points of the first group."""
    files = [folder_of(run_dir, iteration) / "progress.json" for iteration in FIRST]
    return [json.loads(path.read_bytes())["current"]["step"] for path in files if path.exists()]


def assert_same(run_dir, alone):
    assert comparable(read_log(run_dir).records) == comparable(read_log(alone).records)
    names = {where: sorted(path.name for path in (where / "models").iterdir()) for where in (run_dir, alone)}
    assert names[run_dir] == names[alone]


def trained_by_themselves(run_dir):
    return {line.iteration for line in read_log(run_dir).records if "training_step_s" in line.time["latency"]}


def test_a_stacked_run_writes_the_log_of_one_that_is_not(alone, tmp_path):
    run_dir = tmp_path / "run"
    finish(begin(run_dir), run_dir)
    assert_same(run_dir, alone)
    assert groups(run_dir)[0] == FIRST
    assert not set(FIRST) & trained_by_themselves(run_dir)
    assert set(FIRST) <= trained_by_themselves(alone)


def test_killed_with_its_supervisor_in_mid_training_the_group_comes_to_the_same_log(alone, tmp_path):
    run_dir = tmp_path / "run"
    for _ in range(2):
        process = begin(run_dir)
        wait_for_group(run_dir)
        kill(process)
        forget_heartbeats(run_dir)
    finish(begin(run_dir), run_dir)
    assert_same(run_dir, alone)
    assert groups(run_dir)[0] == FIRST


def test_interrupted_in_mid_training_each_of_the_group_is_saved_and_they_go_on_together(alone, tmp_path):
    run_dir = tmp_path / "run"
    process = begin(run_dir)
    wait_for_group(run_dir)
    os.kill(process.pid, signal.SIGINT)
    finish(process, run_dir, timeout_s=15)
    assert points(run_dir)
    forget_heartbeats(run_dir)
    process = begin(run_dir)
    wait_for_group(run_dir)
    kill(process)
    finish(begin(run_dir), run_dir)
    assert_same(run_dir, alone)


def test_when_the_groups_process_is_killed_its_trials_go_on_each_by_itself(alone, tmp_path):
    run_dir = tmp_path / "run"
    process = begin(run_dir)
    wait_for_group(run_dir)
    for pid in processes_in(folder_of(run_dir, FIRST[0])):
        os.kill(pid, signal.SIGKILL)
    finish(process, run_dir)
    assert_same(run_dir, alone)
    assert groups(run_dir)[0] == FIRST
    assert set(FIRST) & trained_by_themselves(run_dir)
    assert read_log(run_dir).records[0].time["attempts"] == 1  # it is not known whose fault it was


def processes_in(folder):
    """Those that hold the folder's lock."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and str(folder) in open_by(pid)]


def open_by(pid):
    try:
        return {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return set()
