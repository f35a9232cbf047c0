"""The real supervisor process and what it started, stopped and killed from outside: the run goes on and ends well, and
nothing is left."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.contract import Reason, Status
from supervisor.journal.log import read_log
from tests.support.misbehaving import ENDS, KIND, WALL_TIME
from tests.support.processes import ROOT, console, finish, kill, start, wait_for
from tests.support.remains import below, descriptors_of, nothing_remains
from tests.support.small_run import comparable

WAY = "keeps_a_family_until_it_may_go_on"
FAMILY = 4
SPACE = """\
target: {key}
kind: {kind}
steps: 1
wall_s: {wall_s}
parameters: {{skill: {{default: 0.3, low: 0, high: 1}}}}
"""
SPACES = {"bad": SPACE.format(key=f"bad/{WAY}", kind=KIND, wall_s=600)}
FLAGS = ("--targets", "bad*/*", "--seed", "7", "--games", "20")
ENVIRON = {
    "INCUMBENT_PROMOTION__MAX_PAIRS": "50",
    "INCUMBENT_BUDGETS__HEARTBEAT_S": "2",
    "INCUMBENT_BUDGETS__STOP_GRACE_S": "1",
    "INCUMBENT_BUDGETS__RAM_MB": "200",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}

pytestmark = pytest.mark.slow  # several starts of the real supervisor, and a ladder climbed three times


class Live:
    """A run folder that is worked on by a supervisor of its own."""

    def __init__(self, folder: Path, spaces_of: Mapping[str, str] = SPACES) -> None:
        spaces = folder / "spaces"
        spaces.mkdir(parents=True)
        for name, text in spaces_of.items():
            (spaces / f"{name}.yaml").write_text(text)
        self.run_dir = folder / "run"
        self.run_dir.mkdir()
        self._environ = {**ENVIRON, "INCUMBENT_RUN__SEARCH_SPACES": str(spaces)}

    def start(self, iterations: int, *flags: str) -> None:
        self.process = start(self.run_dir, *FLAGS, *flags, "--max-iterations", str(iterations), environ=self._environ)

    def finish(self) -> None:
        finish(self.process, self.run_dir)

    def hold_trials(self, held: bool) -> None:
        if held:
            (self.run_dir / "wait").touch()
        else:
            (self.run_dir / "wait").unlink()

    def trial(self, iteration: int, other_than: int = 0) -> int:
        """The pid of a trial that is in its loop with its family around it."""
        found: list[int] = []

        def runs() -> bool:
            assert self.process.poll() is None, console(self.run_dir)
            children = [row for row in below(self.fork_server()) if row.name.startswith(f"trial-{iteration:06d}")]
            found[:] = [row.pid for row in children if row.pid != other_than and len(below(row.pid)) == FAMILY]
            return bool(found)

        wait_for(f"trial {iteration} and its family", runs)
        return found[0]

    def fork_server(self) -> int:
        """0 while there is none."""
        return next((row.pid for row in below(self.process.pid) if row.name == "trial-forks"), 0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    live = Live(tmp_path_factory.mktemp("undisturbed"))
    with nothing_remains(live.run_dir):
        live.start(1)
        live.finish()
    return live.run_dir


def assert_same(run_dir: Path, other: Path) -> None:
    assert comparable(read_log(run_dir).records) == comparable(read_log(other).records)


def test_a_trial_stopped_from_outside_is_hung_and_one_that_lost_its_fork_server_goes_on(tmp_path: Path) -> None:
    live = Live(tmp_path)
    with nothing_remains(live.run_dir):
        live.hold_trials(True)
        live.start(2)
        trial = 0
        for _ in range(3):
            trial = live.trial(1, other_than=trial)
            os.kill(trial, signal.SIGSTOP)
        trial = live.trial(2)
        before = Counter(descriptors_of(live.process.pid))
        os.kill(live.fork_server(), signal.SIGKILL)
        live.trial(2, other_than=trial)
        assert Counter(descriptors_of(live.process.pid)) == before
        live.hold_trials(False)
        live.finish()
    hung, gone_on = read_log(live.run_dir).records
    assert (hung.status, hung.reason) == (Status.FAILED, Reason.HUNG)
    assert "no sign of life" in str(hung.time["detail"])
    assert (gone_on.status, gone_on.time["attempts"]) == (Status.COMPLETE, 2)


def test_a_run_in_which_hardly_a_trial_behaves_goes_on_to_its_end(tmp_path: Path) -> None:
    keys = {way: f"bad{number:02d}/{way}" for number, way in enumerate(ENDS)}
    wall_s = {way: 5 if end is WALL_TIME else 600 for way, end in ENDS.items()}
    spaces = {way: SPACE.format(key=key, kind=KIND, wall_s=wall_s[way]) for way, key in keys.items()}
    live = Live(tmp_path, spaces)
    with nothing_remains(live.run_dir):
        live.start(len(ENDS), "--workers", "8")
        live.finish()
    found = {record.model_type: (record.status, record.reason) for record in read_log(live.run_dir).records}
    assert found == ENDS


def test_a_killed_supervisor_leaves_nothing_of_a_trial_and_its_family(tmp_path: Path, undisturbed: Path) -> None:
    live = Live(tmp_path)
    with nothing_remains(live.run_dir):
        live.hold_trials(True)
        live.start(1)
        live.trial(1)
        kill(live.process)
    with nothing_remains(live.run_dir):
        live.hold_trials(False)
        live.start(1)
        live.finish()
    assert_same(live.run_dir, undisturbed)


def test_where_all_of_ours_are_killed_at_once_the_next_start_ends_what_they_left(
    tmp_path: Path, undisturbed: Path
) -> None:
    live = Live(tmp_path)
    with nothing_remains(live.run_dir):
        live.hold_trials(True)
        live.start(1)
        trial = live.trial(1)
        family = [row.pid for row in below(trial)]
        ours = (live.process.pid, live.fork_server(), trial)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in ours:
                os.kill(pid, number)
        live.process.wait()
        assert [row.pid for row in below(os.getpid()) if row.pid in family and row.state != "Z"] != []
        live.hold_trials(False)
        live.start(1)
        live.finish()
    assert_same(live.run_dir, undisturbed)
