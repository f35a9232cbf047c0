"""The real supervisor in a process of its own, with real training on the arena: killed, interrupted, started again."""

import json
import os
import signal

import pytest

from supervisor.journal.log import read_log
from tests.support.processes import console, finish, kill, start, wait_for
from tests.support.small_run import comparable

FLAGS = ("--targets", "aggressive/combat_dqn", "--seed", "7", "--max-iterations", "4", "--games", "40")
SHORT = {"INCUMBENT_BUDGETS__STEPS": "120000", "INCUMBENT_PROMOTION__MAX_PAIRS": "200", "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow


def run_on(run_dir):
    process = start(run_dir, *FLAGS, environ=SHORT, trains=True)
    finish(process, run_dir)


def step_of(run_dir, iteration):
    path = run_dir / "trials" / f"{iteration:06d}" / "heartbeat"
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text else 0


def has_resume_point(run_dir, iteration):
    return (run_dir / "trials" / f"{iteration:06d}" / "progress.json").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    run_on(run_dir)
    return run_dir


def assert_same(run_dir, undisturbed):
    assert comparable(read_log(run_dir).records) == comparable(read_log(undisturbed).records)
    for name in ("config.yaml", "models/active.json"):
        assert (run_dir / name).read_bytes() == (undisturbed / name).read_bytes()
    names = sorted(path.name for path in (run_dir / "models").iterdir())
    assert names == sorted(path.name for path in (undisturbed / "models").iterdir())


def test_killed_in_the_middle_of_a_trial_it_ends_with_the_same_log(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    for iteration in (1, 2, 3):
        process = start(run_dir, *FLAGS, environ=SHORT, trains=True)
        wait_for(f"trial {iteration} trains", lambda iteration=iteration: step_of(run_dir, iteration) > 0)
        kill(process)
    run_on(run_dir)
    assert_same(run_dir, undisturbed)


def test_interrupted_in_the_middle_of_a_trial_it_saves_and_goes_on_from_there(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, *FLAGS, environ=SHORT, trains=True)
    wait_for("trial 2 trains", lambda: step_of(run_dir, 2) > 0)
    os.kill(process.pid, signal.SIGINT)
    finish(process, run_dir, timeout_s=15)
    assert has_resume_point(run_dir, 2)
    assert json.loads((run_dir / "checkpoint.json").read_bytes())["iteration"] == 1
    process = start(run_dir, *FLAGS, environ=SHORT, trains=True)
    finish(process, run_dir)
    assert "Resumed from checkpoint: iteration 1, best win rate" in console(run_dir)
    assert_same(run_dir, undisturbed)


def test_a_killed_trial_goes_on_from_its_weights(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, *FLAGS, environ=SHORT, trains=True)
    wait_for("trial 2 trains", lambda: step_of(run_dir, 2) > 0)
    facts = run_dir / "trials" / "000002" / "facts.jsonl"
    for pid in trial_processes(run_dir):
        os.kill(pid, signal.SIGKILL)
    wait_for("the end of the killed attempt is a fact", facts.exists)
    finish(process, run_dir)
    assert_same(run_dir, undisturbed)
    assert read_log(run_dir).records[1].time["attempts"] == 2


def trial_processes(run_dir):
    """Processes that hold the trial's stderr.log open."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            links = [os.readlink(f"/proc/{entry}/fd/{name}") for name in os.listdir(f"/proc/{entry}/fd")]
        except OSError:
            continue
        if any(link.startswith(str(run_dir / "trials")) for link in links):
            found.append(int(entry))
    return found
