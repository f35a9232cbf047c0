"""A second supervisor started again and again, with the lock file deleted in between: one writes, ever."""

import json
import time

import pytest

from supervisor.journal.identity import LOCK_NAME
from supervisor.journal.log import LOG_NAME, read_log
from tests.support.command_line import process, started
from tests.support.small_run import comparable


@pytest.fixture
def live(finished_run, tmp_path):
    with started(finished_run.copy(tmp_path)) as running:
        yield running


def starts(folder):
    return (folder.run_dir / "events.jsonl").read_text().count('"event":"start"')


def try_once(live, round_, start):
    """With the lock file deleted, or another in its place; `start` is how a second one is started."""
    lock = live.folder.run_dir / LOCK_NAME
    lock.unlink()
    if round_ % 2:
        lock.write_text("1\n")
    answer = start(live.folder)
    assert answer.code == 4, answer.err
    assert f"another supervisor (pid {live.process.pid}) works in this folder" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""
    live.wait_for_iterations(1)
    assert live.process.poll() is None
    assert lock.read_text() == f"{live.process.pid}\n"


def in_this_process(folder):
    return folder.call_with_config("run")


def in_one_of_its_own(folder):
    return process("run", "--run-dir", str(folder.run_dir), *folder.flags)


def check(live, before, finished_run, base):
    folder = live.folder
    live.process.terminate()
    assert live.process.wait(timeout=60) == 0
    assert starts(folder) == before
    assert "lock_restored" in folder.events()
    held = read_log(folder.run_dir)
    last = held.records[-1].iteration
    assert held.breaks == ()
    numbers = [json.loads(line)["iteration"] for line in (folder.run_dir / LOG_NAME).read_text().splitlines()]
    assert numbers == list(range(1, last + 1))
    alone = finished_run.copy(base / "alone")
    assert alone.call_with_config("run", "--max-iterations", str(last)).code == 0
    assert comparable(folder.lines()) == comparable(alone.lines())


def test_a_second_supervisor_never_comes_in_even_where_the_lock_file_is_deleted(live, finished_run, tmp_path):
    before = starts(live.folder)
    for round_ in range(3):
        try_once(live, round_, in_this_process)
    try_once(live, 3, in_one_of_its_own)
    check(live, before, finished_run, tmp_path)


@pytest.mark.slow
def test_nor_in_a_whole_minute_of_trying(live, finished_run, tmp_path):
    before, end_s = starts(live.folder), time.monotonic() + 60
    rounds = 0
    while time.monotonic() < end_s:
        try_once(live, rounds, in_one_of_its_own)
        rounds += 1
    assert rounds >= 1  # how many depends on the machine
    check(live, before, finished_run, tmp_path)
