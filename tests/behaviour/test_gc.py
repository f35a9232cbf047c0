"""`incumbent gc`: what a folder no longer needs, shown and removed; and that a run never misses it."""

import json
import os
import time

import pytest

from supervisor.journal import events, requests
from supervisor.journal.identity import RunLock
from supervisor.registry.active import ActiveFile
from supervisor.registry.store import ModelStore
from supervisor.retention import Kind
from tests.support.command_line import TARGETS, NoopFolder, call
from tests.support.rights import as_anybody
from tests.support.small_run import comparable

HASH = "0" * 64


@pytest.fixture
def run(finished_run, tmp_path):
    return finished_run.copy(tmp_path)


def told(run, limit):
    """The folder with a configuration of its own, which says this too."""
    config = run.run_dir.with_name("told.yaml")
    config.write_text(run.config.read_text().replace("run:\n", f"run:\n  {limit}\n", 1))
    return NoopFolder(run.run_dir, config)


def tree(run):
    return {path for path in run.run_dir.rglob("*") if path.name not in ("events.jsonl", "supervisor.lock")}


def kinds(answer):
    assert answer.code == 0, answer.err
    return {kind: entry["count"] for kind, entry in answer.json()["kinds"].items()}


def littered(run):
    """What crashes and a smaller limit leave behind, one or two of each kind."""
    stale = run.run_dir / "requests" / f".{'1' * 32}.json.tmp"
    stale.parent.mkdir(exist_ok=True)
    last = run.run_dir / "trials" / "000012"
    for path in (
        *(run.run_dir / f"training_2020010{day}_120000.log" for day in range(1, 4)),
        run.run_dir / "models" / f"{HASH}.onnx",
        run.run_dir / "models" / f".{HASH}.pt.tmp",
        run.run_dir / ".checkpoint.json.tmp",
        run.run_dir / "models" / ".active.json.tmp",
        stale,
        last / "weights.pt",
    ):
        path.write_bytes(b"x" * 5000)
    (last / "c0").mkdir()
    (last / "c0" / "final.pt").write_bytes(b"x" * 5000)
    os.utime(stale, (time.time() - 7200, time.time() - 7200))
    (run.run_dir / "notes.txt").write_text("mine")
    return {
        Kind.TRIALS.value: 0,
        Kind.REMAINS.value: 2,
        Kind.MODELS.value: 2,
        Kind.CONSOLES.value: 0,
        Kind.TEMPORARY.value: 3,
    }


def test_a_folder_that_a_run_left_needs_nothing_done(run):
    before = tree(run)
    assert set(kinds(run.call("gc", "--json")).values()) == {0}
    assert tree(run) == before


def test_a_dry_run_shows_by_kind_what_the_real_one_then_removes(run):
    clean = tree(run)
    found = littered(run)
    before = tree(run)
    shown = run.call("gc", "--dry-run")
    assert "would be removed" in shown.out
    assert tree(run) == before
    assert kinds(run.call("gc", "--dry-run", "--json")) == found
    removed = run.call("gc", "--json")
    assert kinds(removed) == found
    assert removed.json()["total_bytes"] >= 7 * 4096
    assert tree(run) - clean == {
        run.run_dir / "notes.txt",
        *run.run_dir.glob("training_2020*"),
        run.run_dir / "requests",
    }
    assert "gc" in run.events()
    assert set(kinds(run.call("gc", "--json")).values()) == {0}


def test_a_person_reads_counts_and_megabytes(run):
    littered(run)
    out = run.call("gc").out.splitlines()
    assert out[0] == f"{run.run_dir}: removed"
    assert [line.split()[-3:] for line in out if line.startswith("model files")] == [["2", "0.0", "MB"]]
    assert out[-1].split()[:2] == ["together", "7"]


def test_limits_come_from_configuration_environment_or_the_last_start(run, monkeypatch):
    config = run.run_dir.with_name("few.yaml")
    config.write_text("run: {retention_trials: 3, retention_versions: 1, retention_console_logs: 1}\n")
    assert set(kinds(run.call("gc", "--dry-run", "--json")).values()) == {0}
    few = kinds(run.call("gc", "--dry-run", "--json", "--config", str(config)))
    made = sum(line.version is not None for line in run.lines())
    assert few[Kind.TRIALS.value] == len([line for line in run.lines()[:9] if line.version is None]) >= 9 - made
    monkeypatch.setenv("INCUMBENT_RUN__RETENTION_TRIALS", "4")
    assert kinds(run.call("gc", "--dry-run", "--json"))[Kind.TRIALS.value] == len(
        [line for line in run.lines()[:8] if line.version is None]
    )
    monkeypatch.delenv("INCUMBENT_RUN__RETENTION_TRIALS")
    assert told(run, "retention_console_logs: 500").call_with_config("run", "--max-iterations", "13").code == 0
    for minute in range(60):
        (run.run_dir / f"training_20200101_12{minute:02d}00.log").touch()
    assert kinds(run.call("gc", "--dry-run", "--json"))[Kind.CONSOLES.value] == 0
    monkeypatch.setenv("INCUMBENT_RUN__RETENTION_CONSOLE_LOGS", "50")
    assert kinds(run.call("gc", "--dry-run", "--json"))[Kind.CONSOLES.value] >= 11


def test_after_it_the_run_goes_on_as_if_nothing_had_been_removed(run, tmp_path):
    untouched = run.copy(tmp_path / "untouched")
    littered(run)
    config = run.run_dir.with_name("few.yaml")
    config.write_text("run: {retention_trials: 0, retention_versions: 1}\n")
    assert run.call("gc", "--config", str(config)).code == 0
    for folder in (run, untouched):
        assert folder.call_with_config("run", "--max-iterations", "20").code == 0
    assert comparable(run.lines()) == comparable(untouched.lines())


def test_where_a_supervisor_works_only_a_dry_run_is_done(run):
    littered(run)
    before = tree(run)
    lock = RunLock(run.run_dir)
    lock.acquire()
    try:
        answer = run.call("gc")
        assert answer.code == 4
        assert f"pid {os.getpid()}" in answer.err
        assert "--dry-run" in answer.err
        assert kinds(run.call("gc", "--dry-run", "--json"))[Kind.MODELS.value] == 2
    finally:
        lock.release()
    assert tree(run) == before


@pytest.mark.parametrize("lost", ["checkpoints", "checkpoints and log", "active.json damaged"])
def test_what_production_serves_stays_whatever_else_is_lost(run, lost):
    serving = ActiveFile.read(run.run_dir).targets.values()
    if lost == "active.json damaged":
        (run.run_dir / "models" / "active.json").write_text("{")
    else:
        for name in ("checkpoint.json", "checkpoint.previous.json"):
            (run.run_dir / name).unlink(missing_ok=True)
    if lost.endswith("log"):
        (run.run_dir / "training_log.jsonl").unlink()
    assert run.call("gc").code == 0
    for entry in serving:
        assert ModelStore(run.run_dir).has(entry.as_version())


def damage(run, how):
    """What a supervisor does not start from."""
    log = run.run_dir / "training_log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    for path in run.run_dir.glob("checkpoint*.json"):
        path.unlink()
    if how == "a line is missing":
        log.write_bytes(b"".join(lines[:4] + lines[5:]))
    elif how == "a line was changed":
        changed = lines[4].replace(b'"wins":', b'"wins":1')
        assert changed != lines[4]
        log.write_bytes(b"".join([*lines[:4], changed, *lines[5:]]))
    elif how == "the promotions were taken out":
        log.write_bytes(b"".join(line for line in lines if b'"promoted":true' not in line or b'"iteration":1,' in line))
    else:
        log.write_bytes(b"")
        (run.run_dir / "training_log-20200101.jsonl.gz").write_bytes(b"cut")


@pytest.mark.parametrize(
    "how", ["a line is missing", "a line was changed", "the promotions were taken out", "a rotation is damaged"]
)
def test_where_a_run_would_not_start_nothing_is_removed(run, how):
    littered(run)
    damage(run, how)
    before = tree(run)
    started = run.call_with_config("run", "--max-iterations", "13")
    assert started.code == 6
    for answer in (run.call("gc"), run.call("gc", "--dry-run")):
        assert answer.code == 6
        assert answer.err.splitlines()[0] == started.err.splitlines()[0]
    assert {path for path in tree(run) - before if path.suffix != ".log"} == set()
    assert before - tree(run) == set()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_what_would_not_go_is_said_and_not_counted(run):
    littered(run)
    foreign = run.run_dir / "trials" / "000012" / "c0"
    os.chown(foreign, 1234, -1)
    with as_anybody():
        answer = run.call("gc", "--json")
    assert kinds(answer)[Kind.REMAINS.value] == 1
    assert f"{foreign}: could not be removed" in answer.err
    assert foreign.exists()


def test_an_unfinished_line_that_it_cuts_off_is_an_event(run):
    with (run.run_dir / "training_log.jsonl").open("ab") as log:
        log.write(b'{"iteration":13,')
    assert run.call("gc").code == 0
    assert run.events()[-1] == "torn_line"
    assert run.call_with_config("run", "--max-iterations", "13").code == 0


def test_a_folder_without_a_run_is_left_alone(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{HASH}.onnx").write_text("x")
    answer = call("gc", "--run-dir", str(tmp_path))
    assert answer.code == 2
    assert "holds no run" in answer.err
    assert (tmp_path / "models" / f"{HASH}.onnx").exists()
    assert call("gc", "--run-dir", str(tmp_path / "none")).code == 2


def test_a_running_supervisor_removes_old_console_logs_at_its_start(run):
    littered(run)
    [first] = [path for path in run.run_dir.glob("training_*.log") if "training_2020" not in path.name]
    assert told(run, "retention_console_logs: 2").call_with_config("run", "--max-iterations", "13").code == 0
    kept = sorted(run.run_dir.glob("training_*.log"))
    assert kept[0] == first
    assert len(kept) == 2


# what is gone


def promotions(run, target):
    return [line.version for line in run.lines() if line.target == target and line.promoted]


def remove_model(run, target, version):
    [sha256] = {line.model_sha256 for line in run.lines() if line.target == target and line.version == version}
    ModelStore(run.run_dir).path(sha256).unlink()


@pytest.mark.parametrize("command", ["promote", "rollback", "export"])
def test_a_version_whose_file_is_gone_is_said_to_be_gone_at_once(run, command, tmp_path):
    target = next(target for target in TARGETS if len(promotions(run, target)) > 1)
    *_, before, present = promotions(run, target)
    remove_model(run, target, before)
    arguments = {
        "promote": ["promote", target, before, *run.flags],
        "rollback": ["rollback", target, *run.flags],
        "export": ["export", target, str(tmp_path / "model.onnx"), "--version", before],
    }[command]
    answer = run.call(*arguments)
    assert answer.code == 2
    assert "run.retention_versions" in answer.err
    assert before in answer.err
    if command != "export":
        assert f"still there: {present}" in answer.err
    assert len(run.lines()) == 12
    assert requests.waiting(run.run_dir) == ([], [])


def test_events_without_end_take_two_files_of_a_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "LIMIT_BYTES", 2000)
    written = events.Events(tmp_path, lambda: "2026-01-01T00:00:00Z", lambda text: None)
    for number in range(200):
        written.write("start", f"number {number}")
    files = [tmp_path / events.PREVIOUS_NAME, tmp_path / events.EVENTS_NAME]
    kept = [json.loads(line)["reason"] for file in files if file.exists() for line in file.read_text().splitlines()]
    assert kept == [f"number {number}" for number in range(200 - len(kept), 200)]
    assert all(file.stat().st_size < 2100 for file in files if file.exists())
    assert len(kept) > 20
