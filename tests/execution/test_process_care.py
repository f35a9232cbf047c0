"""Whatever trials do, each is ended by the ladder, its line says why, nothing of it is left, and the run goes on."""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from supervisor.contract import Status
from supervisor.execution.executor import STDERR_NAME
from supervisor.execution.ladder import Patience
from supervisor.execution.local import LocalExecutor
from supervisor.execution.output import HEAD_BYTES, TAIL_BYTES
from supervisor.journal.log import read_log
from supervisor.record import Record
from supervisor.search.target import TargetDefinition
from tests.support.command_line import NoopFolder, in_process
from tests.support.misbehaving import ENDS, FLOOD_MB, KIND, WALL_TIME
from tests.support.remains import descriptors_of, nothing_remains
from tests.support.small_run import SmallRun, definition
from tools.continuous_training import ContinuousTrainer

QUICK = Patience(ask_s=0.2, terminate_s=0.2, urgent_s=0.1, hung_s=1.0)
SLOTS = 8
RAM_MB = 100
SHORT_S = 1.0  # of wall time, for trials that must run into it
LONG_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of one run in which each trial misbehaves in another way."""

    run_dir: Path
    lines: Mapping[str, Record]  # by way of misbehaviour
    left: str  # what remained, in words
    server_changes: Counter[str]  # descriptors of the fork server that were not there before
    temporary: list[Path]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    run_dir = tmp_path_factory.mktemp("care") / "run"
    definitions = dict(misbehaving(number, way) for number, way in enumerate(ENDS))
    run = SmallRun(run_dir, tuple(definitions), window=len(ENDS), definitions=definitions)
    run.settings = {"budgets": {"ram_mb": RAM_MB}}
    left = ""
    with nothing_remains():
        temporary = Path(tempfile.gettempdir())
        preload = ("trainers.worker", "tests.support.misbehaving")
        executor = LocalExecutor(SLOTS, preload=preload, patience=QUICK)
        executor.prepare()
        before = Counter(descriptors_of(executor.server_pid()))
        try:
            with nothing_remains(run_dir):
                run.run(len(ENDS), executor=executor, slots=SLOTS)
        except AssertionError as error:
            left = str(error)
        after = Counter(descriptors_of(executor.server_pid()))
        found = [path for path in temporary.iterdir() if not path.name.startswith("remains-")]
        executor.close()
        lines = {record.model_type: record for record in read_log(run_dir).records}
        yield Outcome(run_dir, lines, left, after - before, found)


def misbehaving(number: int, way: str) -> tuple[str, TargetDefinition]:
    """The number decides when it is its turn."""
    key = f"bad{number:02d}/{way}"
    wall_s = SHORT_S if ENDS[way] is WALL_TIME else LONG_S
    return key, replace(definition(key), kind=KIND, wall_s=wall_s)


@pytest.mark.parametrize("way", ENDS)
def test_the_line_of_a_trial_says_why_it_ended(outcome: Outcome, way: str) -> None:
    line = outcome.lines[way]
    assert (line.status, line.reason) == ENDS[way], line.time["detail"]


def test_nothing_of_any_trial_is_left(outcome: Outcome) -> None:
    assert outcome.left == ""
    assert outcome.temporary == []


def test_the_fork_server_keeps_no_descriptor_of_a_trial(outcome: Outcome) -> None:
    assert outcome.server_changes == Counter()


def test_a_trial_that_hung_or_crashed_was_tried_three_times_and_one_beyond_its_budget_once(outcome: Outcome) -> None:
    for way, end in ENDS.items():
        attempts = outcome.lines[way].time["attempts"]
        assert attempts == (4 if end[0] is Status.FAILED else 1), way


def test_of_a_flood_on_stderr_the_ends_are_kept(outcome: Outcome) -> None:
    for way in ("floods_stderr", "prints_forever"):
        log = outcome.run_dir / "trials" / f"{outcome.lines[way].iteration:06d}" / STDERR_NAME
        assert HEAD_BYTES < log.stat().st_size < HEAD_BYTES + TAIL_BYTES + 100 < FLOOD_MB * 2**20


def test_a_search_started_from_python_leaves_that_process_as_it_was(tmp_path: Path) -> None:
    fresh = NoopFolder.make(tmp_path)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with in_process(), nothing_remains(fresh.run_dir):
        ContinuousTrainer(config=fresh.config, run_dir=fresh.run_dir).train(single_iteration=True)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
