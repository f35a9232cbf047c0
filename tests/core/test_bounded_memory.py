"""A run of months holds what a run of minutes does."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable

import pytest

from supervisor import committing
from supervisor.journal import recovery
from supervisor.journal.checkpoint import CHECKPOINT_NAME, PREVIOUS_NAME
from supervisor.journal.log import LOG_NAME, read_log
from supervisor.journal.recovery import LATEST_LINES
from supervisor.memory import Memory
from supervisor.record import Record
from tests.support.small_run import SmallRun, comparable
from trainers import worker

LONG = LATEST_LINES + 16
SELDOM = {"run": {"checkpoint_interval": 1000}}


def in_trial(iteration: int, look: Callable[[], None]) -> Callable[[str], int]:
    """A worker that looks around in the trial of one iteration."""

    def work(folder: str) -> int:
        if folder.endswith(f"{iteration:06d}"):
            look()
        return worker.main(folder)

    return work


@pytest.mark.parametrize("sampler", ["spsa", "tpe"])
def test_no_line_is_held_beyond_the_latest(tmp_path, monkeypatch, sampler):
    committed: list[weakref.ref[Record]] = []
    add = Memory.add

    def noted(memory: Memory, record: Record) -> None:
        committed.append(weakref.ref(record))
        add(memory, record)

    monkeypatch.setattr(Memory, "add", noted)
    held: list[int] = []

    def count() -> None:
        gc.collect()
        held.append(sum(reference() is not None for reference in committed))

    run = SmallRun(tmp_path / "run", settings={"search": {"sampler": sampler}}, dashboard=True)
    run.run(LONG, worker_main=in_trial(LONG, count))
    assert len(committed) == LONG
    assert held[0] <= LATEST_LINES + 2


def test_a_snapshot_comes_early_rather_than_that_many_lines_are_held_against_their_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(committing, "MOST_HELD", 4)
    run = SmallRun(tmp_path / "run", settings=SELDOM)
    taken: set[int] = set()

    def look() -> None:
        taken.add(json.loads((run.run_dir / CHECKPOINT_NAME).read_bytes())["iteration"])

    run.run(10, worker_main=in_trial(8, look))
    assert taken == {5}


def test_after_a_long_log_without_a_snapshot_one_is_taken_before_anything_else(tmp_path, monkeypatch):
    undisturbed, run = (SmallRun(tmp_path / name, settings=SELDOM) for name in ("undisturbed", "run"))
    undisturbed.run(11)
    run.run(9)
    for name in (CHECKPOINT_NAME, PREVIOUS_NAME):
        (run.run_dir / name).unlink(missing_ok=True)
    monkeypatch.setattr(recovery, "MOST_HELD", 3)
    log = run.run_dir / LOG_NAME

    def shorten() -> None:
        assert json.loads((run.run_dir / CHECKPOINT_NAME).read_bytes())["iteration"] == 9
        shorter = log.with_name("shorter")
        shorter.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[-2:]))
        shorter.rename(log)

    run.run(11, worker_main=in_trial(10, shorten))
    assert comparable(read_log(run.run_dir).records) == comparable(read_log(undisturbed.run_dir).records[7:])
