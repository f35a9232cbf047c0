"""The founding document's lines for full disks, broken checkpoints, stopping and resuming, while it works."""

import gzip
import json
import os
import re
import shutil

import pytest

from supervisor.journal.log import read_log
from tests.support.command_line import started
from tests.support.processes import console, finish, kill, start, wait_for
from tests.support.shell import shell, shell_json

SHORTEN = (
    "tail -1000 run/training_log.jsonl > run/training_log_recent.jsonl\n"
    "mv run/training_log_recent.jsonl run/training_log.jsonl"
)


@pytest.fixture(scope="module")
def live(finished_run, tmp_path_factory):
    with started(finished_run.copy(tmp_path_factory.mktemp("founding")), as_shipped=True) as running:
        yield running


def test_the_first_line_after_a_restart_names_iteration_and_best_win_rate(live, finished_run):
    lines = finished_run.lines()
    best = max(lines[-2:], key=lambda line: line.best_win_rate)
    [*_, version] = [line.version for line in lines if line.target == best.target and line.promoted]
    rate = f"best win rate {100 * best.best_win_rate:.1f} %"
    assert live.console()[0] == f"Resumed from checkpoint: iteration 12, {rate} ({best.target} {version})"


@pytest.mark.parametrize("kept", [1000, 5])
def test_the_log_is_shortened_under_the_running_supervisor_and_loses_no_newer_line(live, kept):
    said = len(live.console())
    shell(SHORTEN.replace("1000", str(kept)), cwd=live.folder.run_dir.parent)
    live.wait_until_it_says("log_rewritten", after=said)
    live.wait_for_iterations(2)
    held = read_log(live.folder.run_dir)
    iterations = [record.iteration for record in held.records]
    assert iterations == list(range(iterations[0], iterations[-1] + 1))
    assert held.breaks == ()
    assert len(live.folder.call("status", "--json").json()["targets"]) == 2


def test_old_console_logs_are_compressed_while_it_writes_one(live):
    run_dir = live.folder.run_dir
    before = sorted(path.name for path in run_dir.glob("training_*.log"))
    shell("gzip run/training_*.log", cwd=run_dir.parent)
    assert sorted(path.name for path in run_dir.glob("training_*.log.gz")) == [f"{name}.gz" for name in before]
    with gzip.open(run_dir / f"{before[0]}.gz", "rt") as text:
        assert "New run" in text.readline()
    live.wait_for_iterations(2)
    [going_on] = run_dir.glob("training_*.log")
    assert live.console()[-2] in going_on.read_text()


def test_the_process_is_found_by_its_command_line(live):
    out = shell("ps aux | grep 'supervisor run' | grep -v grep", cwd=live.folder.run_dir.parent)
    assert str(live.process.pid) in {line.split()[1] for line in out.splitlines()}


def test_kill_term_saves_the_checkpoint_and_the_same_command_goes_on(live):
    run_dir = live.folder.run_dir
    shell(f"kill -TERM {live.process.pid}", cwd=run_dir)
    assert live.process.wait(timeout=60) == 0
    last = live.folder.lines()[-1].iteration
    assert shell_json("cat checkpoint.json | jq .iteration", cwd=run_dir) == last
    answer = live.folder.call_with_config("run", "--max-iterations", str(last + 1))
    assert answer.code == 0
    assert f"Resumed from checkpoint: iteration {last}, best win rate" in answer.out.splitlines()[0]


def test_a_checkpoint_moved_away_is_no_fresh_start(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    shell("mv run/checkpoint.json run/checkpoint.json.backup", cwd=tmp_path)
    answer = run.call_with_config("run", "--max-iterations", "13")
    assert answer.code == 0
    assert "Resumed from checkpoint: iteration 12" in answer.out
    assert [line.iteration for line in run.lines()] == list(range(1, 14))
    assert [line.purpose for line in run.lines()].count("baseline") == 2


@pytest.mark.slow
def test_after_kill_9_the_same_command_ends_with_the_same_log(finished_run, tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, *finished_run.flags, "--max-iterations", "12")
    wait_for("four iterations", lambda: console(run_dir).count("\n") >= 7)
    kill(process)
    finish(start(run_dir, *finished_run.flags, "--max-iterations", "12"), run_dir)
    assert _without_time(run_dir) == _without_time(finished_run.run_dir)


def test_the_compressed_log_still_counts(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    shell("gzip -k run/training_log.jsonl && mv run/training_log.jsonl.gz run/training_log_1.jsonl.gz", cwd=tmp_path)
    os.truncate(run.run_dir / "training_log.jsonl", 0)
    answer = run.call_with_config("run", "--max-iterations", "13")
    assert answer.code == 0
    assert "Resumed from checkpoint: iteration 12" in answer.out
    assert run.lines()[-1].iteration == 13


def test_deleting_the_projections_costs_nothing(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    shell("rm -f run/study.db* run/config.yaml run/models/active.json", cwd=tmp_path)
    assert run.call_with_config("run", "--max-iterations", "13").code == 0
    assert (run.run_dir / "config.yaml").exists()
    assert json.loads((run.run_dir / "models" / "active.json").read_bytes())["targets"].keys() == {
        "aggressive/noop",
        "mage/noop",
    }
    assert shutil.which("sqlite3") is None or re.match(
        r"\d+", shell("sqlite3 run/study.db 'select count(*) from trials'", cwd=tmp_path)
    )


def _without_time(run_dir):
    lines = [json.loads(line) for line in (run_dir / "training_log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]
