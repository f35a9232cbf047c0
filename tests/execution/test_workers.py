"""`--workers`: how many trials at a time leaves no trace in the log, up to what the folder's first start fixed."""

import itertools
import json
import os
import re

import psutil
import pytest

from supervisor.commands import doctor
from supervisor.config.settings import BudgetSettings, RunSettings, Settings
from supervisor.journal.identity import first_window, load_identity
from tests.support import command_line
from tests.support.command_line import NoopFolder, process
from tests.support.processes import finish, start
from tests.support.small_run import comparable

ITERATIONS = 30


def go_on(folder, workers, iterations=ITERATIONS):
    flags = ("--workers", str(workers), "--max-iterations", str(iterations))
    return start(folder.run_dir, *folder.flags, *flags)


def overlaps(folder):
    """Lines whose trial began before the one of the line before had ended."""
    times = [line.time for line in folder.lines()]
    return sum(later["started_at"] < earlier["finished_at"] for earlier, later in itertools.pairwise(times))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder whose first start had two workers, after its second iteration."""
    folder = NoopFolder.make(tmp_path_factory.mktemp("begun"))
    assert folder.call_with_config("run", "--workers", "2", "--max-iterations", "2").code == 0
    assert load_identity(folder.run_dir).window == first_window(2) == 8
    return folder


def assert_all_the_same(folders):
    logs = {workers: comparable(folder.lines()) for workers, folder in folders.items()}
    assert len(logs[1]) == ITERATIONS
    assert logs[2] == logs[1]
    assert logs[4] == logs[1]
    files = {workers: sorted((folder.run_dir / "models").iterdir()) for workers, folder in folders.items()}
    assert len({tuple((path.name, path.read_bytes()) for path in paths) for paths in files.values()}) == 1


def test_one_two_or_four_workers_write_the_same_log(begun, tmp_path):
    folders = {workers: begun.copy(tmp_path / str(workers)) for workers in (1, 2, 4)}
    for workers, folder in folders.items():
        limit = ("--max-iterations", str(ITERATIONS))
        assert folder.call_with_config("run", "--workers", str(workers), *limit).code == 0
    assert_all_the_same(folders)


@pytest.mark.slow
def test_one_two_or_four_real_processes_at_a_time_write_the_same_log(begun, tmp_path):
    folders = {workers: begun.copy(tmp_path / str(workers)) for workers in (1, 2, 4)}
    running = [(go_on(folder, workers), folder) for workers, folder in folders.items()]
    for run, folder in running:
        finish(run, folder.run_dir)
    assert_all_the_same(folders)
    assert overlaps(folders[4]) > 3


def test_more_workers_than_the_first_start_allows_is_an_event_and_the_run_goes_on(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    answer = run.call_with_config("run", "--workers", "3", "--max-iterations", "14")
    assert answer.code == 0
    assert len(run.lines()) == 14
    [event] = [line for line in (run.run_dir / "events.jsonl").read_text().splitlines() if "fewer_workers" in line]
    assert "1 at a time instead of 3" in json.loads(event)["reason"]
    assert run.call_with_config("run", "--workers", "1", "--max-iterations", "15").code == 0
    assert run.events().count("fewer_workers") == 1


def test_no_more_processes_are_made_ready_than_the_first_start_allows(begun, tmp_path, monkeypatch):
    asked = []

    def executor(slots=1, **others):
        asked.append(slots)
        return inline(slots, **others)

    inline = command_line._inline
    monkeypatch.setattr(command_line, "_inline", executor)
    assert begun.copy(tmp_path).call_with_config("run", "--workers", "30", "--max-iterations", "3").code == 0
    assert asked == [8]


def test_the_plan_says_how_many_at_a_time(begun, tmp_path):
    fresh = NoopFolder.make(tmp_path)
    answer = fresh.call_with_config("run", "--dry-run", "--workers", "3")
    assert "trials at a time: 3; look-ahead of 12 is fixed by the first start" in answer.out
    answer = begun.call_with_config("run", "--dry-run", "--workers", "30")
    assert "trials at a time: 8; look-ahead of 8 was fixed" in answer.out


@pytest.mark.parametrize("wrong", ["0", "-1", "257"])
def test_impossible_numbers_of_workers_are_refused_by_name(fresh_folder, wrong):
    answer = fresh_folder.call_with_config("run", "--workers", wrong)
    assert answer.code == 3
    assert re.search(r"run\.workers", answer.err)


@pytest.fixture
def fresh_folder(tmp_path):
    return NoopFolder.make(tmp_path)


def test_validate_shows_where_the_number_comes_from(tmp_path):
    answer = process("validate", "--show", environ={"INCUMBENT_RUN__WORKERS": "4"})
    assert re.search(r"run\.workers +4 +environment", answer.out)


def test_more_workers_than_processors_is_said_at_the_start_and_by_the_doctor(begun, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    for workers, said in ((3, False), (4, True)):
        run = begun.copy(tmp_path / str(workers))
        answer = run.call_with_config("run", "--workers", str(workers), "--max-iterations", "3")
        assert (f"{workers} trials at a time share 3 CPUs" in answer.out) is said
        settings = Settings(run=RunSettings(workers=workers), budgets=BudgetSettings(ram_mb=64))
        [finding] = doctor._workers(settings)
        assert finding.ok is (None if said else True)
        assert f"{workers} trials at a time on 3 CPUs, {workers * 64 / 1024:.1f} GiB" in finding.text


def test_workers_that_may_take_more_memory_than_there_is_are_a_note_of_the_doctor():
    huge = psutil.virtual_memory().total // 2**20
    [finding] = doctor._workers(Settings(run=RunSettings(workers=2), budgets=BudgetSettings(ram_mb=huge)))
    assert finding.ok is None
    assert list(doctor._workers(Settings())) == []
