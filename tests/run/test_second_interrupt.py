"""The second Ctrl+C leaves at once, whatever a trial does, and costs nothing that was committed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisor.contract import Status
from supervisor.journal.log import LOG_NAME, read_log
from supervisor.signals import EXIT_INTERRUPTED
from tests.support.processes import ROOT, console, finish, start, wait_for
from tests.support.small_run import comparable
from tests.support.stubborn import MARK

SPACE = """\
target: bots/stubborn
kind: tests.support.stubborn:StubbornTarget
steps: 1
parameters: {skill: {default: 0.3, low: 0, high: 1}}
"""
FLAGS = ("--targets", "bots/stubborn", "--seed", "7", "--max-iterations", "3", "--games", "100")
ENVIRON = {"INCUMBENT_PROMOTION__MAX_PAIRS": "200", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

pytestmark = pytest.mark.slow  # three starts of the real supervisor


def environ_with(folder: Path) -> dict[str, str]:
    path = folder / "spaces" / "external" / "stubborn.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SPACE)
    return {**ENVIRON, "INCUMBENT_RUN__SEARCH_SPACES": str(folder / "spaces")}


def test_it_leaves_while_a_trial_ignores_the_first_and_the_log_goes_on(tmp_path: Path) -> None:
    environ = environ_with(tmp_path)
    run_dir, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    run_dir.mkdir()
    (run_dir / MARK).touch()
    trial = run_dir / "trials" / "000002"
    process = start(run_dir, *FLAGS, environ=environ, trains=True)
    wait_for("trial 2 is in its loop", lambda: process.poll() is not None or beats(trial))
    assert process.poll() is None, console(run_dir)
    session = processes_of_session(process.pid) | processes_of_trial(trial)
    assert len(session) > 1
    committed = (run_dir / LOG_NAME).read_bytes()
    os.kill(process.pid, signal.SIGINT)
    wait_for("the trial is asked to stop", (trial / "stop").exists, timeout_s=10)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=2) == EXIT_INTERRUPTED, console(run_dir)
    wait_for("no process is left", lambda: not any(alive(pid) for pid in session), timeout_s=10)
    assert not (trial / "result.json").exists()
    assert (run_dir / LOG_NAME).read_bytes() == committed

    (run_dir / MARK).unlink()
    finish(start(run_dir, *FLAGS, environ=environ, trains=True), run_dir)
    finish(start(undisturbed, *FLAGS, environ=environ, trains=True), undisturbed)
    assert (run_dir / LOG_NAME).read_bytes().startswith(committed)
    records = read_log(run_dir).records
    assert [record.status for record in records] == [Status.COMPLETE] * 3
    assert comparable(records) == comparable(read_log(undisturbed).records)


def beats(trial: Path) -> bool:
    path = trial / "heartbeat"
    return path.exists() and path.read_text().strip() == "1"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_of_session(leader: int) -> set[int]:
    """The supervisor and its helpers: fork server, proposer."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def processes_of_trial(trial: Path) -> set[int]:
    """Whoever holds a file of the trial's folder open."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            links = [os.readlink(link) for link in (entry / "fd").iterdir()] if entry.name.isdigit() else []
        except OSError:
            continue
        if any(link.startswith(str(trial)) for link in links):
            found.add(int(entry.name))
    return found
