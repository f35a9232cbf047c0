"""The kill experiment on plain Optuna and on this program. Run: python -m tests.faults.optuna_peer

A process works through trials and is killed by SIGKILL in the middle of one; started again as its documentation says,
it completes them. What it then holds is compared with an undisturbed run of the same seed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from supervisor.journal.log import read_log
from tests.faults.optuna_child import JOURNAL, STARTED, STUDY, journal, sqlite
from tests.support.killing import EVALUATIONS, KILL_IN
from tests.support.processes import ROOT
from tests.support.small_run import comparable

TRIALS, KILLED = 40, 20
OURS = "incumbent"
TITLES = {
    "sqlite": "Optuna, SQLite",
    "sqlite_pickled": "Optuna, SQLite, sampler pickled after every trial",
    "sqlite_heartbeat": "Optuna, SQLite, heartbeat and retry callback",
    "journal": "Optuna, journal file",
    "journal_torn": "Optuna, journal file, last line torn",
    OURS: "this program, sampler tpe",
}
SPACE = """\
target: peer/noop
kind: tests.support.killing:KillingTarget
parameters:
  skill: {type: float, default: 0.3, low: 0.0, high: 1.0}
  other: {type: float, default: 1.0, low: 0.1, high: 10.0, log: true}
  whole: {type: int, default: 4, low: 1, high: 9}
"""


@dataclass(frozen=True)
class Row:
    """One way to be killed and to go on."""

    way: str
    finished: int
    first_different: int | None  # number of the trial, from 0, None where all are the same
    different: int
    left_running: int
    evaluated_again: int  # evaluations of parameters that had been evaluated before
    error: str  # of the process that should have completed the trials; empty where it ended well


@dataclass(frozen=True)
class Held:
    """What a way holds in the end: the finished trials in order, and what else there is."""

    finished: Sequence[object]
    left_running: int
    evaluations: Sequence[str]


def experiment(way: str, folder: Path, trials: int, killed: int) -> Row:
    undisturbed, disturbed = folder / "undisturbed", folder / "killed"
    run_to_the_end(way, undisturbed, trials, killed=-1)
    assert run(way, disturbed, trials, killed).returncode == -signal.SIGKILL
    if way == "journal_torn":
        tear(disturbed / JOURNAL)
    ended = run(way, disturbed, trials, killed)
    expected, found = held(way, undisturbed), held(way, disturbed)
    differing = [
        number
        for number in range(max(len(expected.finished), len(found.finished)))
        if expected.finished[number : number + 1] != found.finished[number : number + 1]
    ]
    return Row(
        way,
        len(found.finished),
        differing[0] if differing else None,
        len(differing),
        found.left_running,
        sum(count - 1 for count in Counter(found.evaluations).values()),
        _last_line(ended.stdout) if ended.returncode else "",
    )


def run_to_the_end(way: str, folder: Path, trials: int, killed: int) -> None:
    done = run(way, folder, trials, killed)
    if done.returncode:
        sys.exit(done.stdout)


def run(way: str, folder: Path, trials: int, killed: int) -> subprocess.CompletedProcess[str]:
    """One process, until it ends or is killed. `killed` is the trial it is killed in, from 0, if it was not yet."""
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.faults.optuna_child", way, str(folder), str(trials), str(killed)]
    if way == OURS:
        (folder / "spaces").mkdir(exist_ok=True)
        (folder / "spaces" / "noop.yaml").write_text(SPACE)
        if fresh and killed >= 0:
            (folder / "run").mkdir()
            (folder / "run" / KILL_IN).write_text(str(killed + 1))
        flags = ["--targets", "peer/noop", "--sampler", "tpe", "--seed", "7", "--max-iterations", str(trials)]
        command = [sys.executable, "-m", "supervisor", "run", "--run-dir", str(folder / "run"), *flags]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "INCUMBENT_RUN__SEARCH_SPACES": str(folder / "spaces"), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def tear(path: Path) -> None:
    """The last line as a power cut leaves it: its first half."""
    data = path.read_bytes()
    begin = data.rfind(b"\n", 0, -1) + 1
    path.write_bytes(data[: begin + (len(data) - begin) // 2])


def held(way: str, folder: Path) -> Held:
    if way == OURS:
        return Held(comparable(read_log(folder / "run").records), 0, _evaluations(folder / "run" / EVALUATIONS))
    evaluations = _evaluations(folder / STARTED)
    storage = journal if way.startswith("journal") else sqlite  # reading needs no heartbeat
    try:
        trials = optuna.load_study(study_name=STUDY, storage=storage(folder)).get_trials(deepcopy=False)
    except json.JSONDecodeError:  # of a torn journal: it holds nothing then
        return Held((), 0, evaluations)
    finished = [(trial.params, trial.value) for trial in trials if trial.state is TrialState.COMPLETE]
    return Held(finished, sum(trial.state is TrialState.RUNNING for trial in trials), evaluations)


def _evaluations(path: Path) -> list[str]:
    return [json.dumps(json.loads(line)["params"], sort_keys=True) for line in path.read_text().splitlines()]


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def table(rows: Sequence[Row], trials: int, killed: int) -> str:
    lines = [
        f"Optuna {optuna.__version__}; {trials} trials of one seed, SIGKILL in trial {killed} (from 0), started again",
        "",
        "| way | finished | first trial that differs | trials that differ | left RUNNING | evaluated again | end |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        first = "none" if row.first_different is None else str(row.first_different)
        lines.append(
            f"| {TITLES[row.way]} | {row.finished} | {first} | {row.different} | {row.left_running}"
            f" | {row.evaluated_again} | {row.error or 'completed'} |"
        )
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=TRIALS)
    arguments.add_argument("--killed", type=int, default=KILLED, help="in which trial, from 0")
    arguments.add_argument("--way", action="append", choices=list(TITLES), help="this one only; may be given again")
    given = arguments.parse_args()
    base = Path(tempfile.mkdtemp(prefix="incumbent-peer-"))
    try:
        ways = given.way or list(TITLES)
        rows = [experiment(way, base / way, given.trials, given.killed) for way in ways]
    finally:
        shutil.rmtree(base)
    print(table(rows, given.trials, given.killed))


if __name__ == "__main__":
    main()
