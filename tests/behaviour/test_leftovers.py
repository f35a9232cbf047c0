"""What a trial leaves behind and will not let go never ends the run."""

import os
from pathlib import Path

import pytest

from supervisor.journal.log import LOG_NAME, encode, read_log
from tests.support.rights import as_anybody
from tests.support.small_run import SmallRun, comparable
from trainers import worker

SOMEBODY_ELSE = 1234


@pytest.fixture(autouse=True)
def _rights():
    with as_anybody():
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = SmallRun(tmp_path_factory.mktemp("undisturbed") / "run")
    run.run(6)
    return comparable(read_log(run.run_dir).records)


def leave(folder, owner):
    """A trial that leaves a tree like that of a build with protected folders, or of one in a container."""
    inner = Path(folder) / "sides" / "tree"
    inner.mkdir(parents=True, exist_ok=True)
    if not (inner / "out.bin").exists():
        (inner / "out.bin").write_text("x")
    os.chown(inner, owner, -1)
    if owner == os.getuid():
        inner.chmod(0o555)
    return worker.main(folder)


def shorten(run, iterations):
    """The log and its snapshots are taken back to what they were after so many iterations."""
    held = read_log(run.run_dir).records
    for path in run.run_dir.glob("checkpoint*.json"):
        path.unlink()
    (run.run_dir / LOG_NAME).write_bytes(b"".join(encode(line) for line in held[:iterations]))


def test_folders_that_a_trial_protected_against_writing_are_removed(undisturbed, tmp_path):
    run = SmallRun(tmp_path / "run", settings={"run": {"retention_trials": 2}})
    run.run(4, worker_main=lambda folder: leave(folder, os.getuid()))
    assert not list(run.run_dir.glob("trials/*/sides"))
    run.run(6)
    assert comparable(read_log(run.run_dir).records) == undisturbed
    assert not any("not_removed" in line for line in run.said)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_what_belongs_to_somebody_else_stays_and_is_told_once_in_each_start(undisturbed, tmp_path):
    run = SmallRun(tmp_path / "run", settings={"run": {"retention_trials": 2}})
    run.run(4, worker_main=lambda folder: leave(folder, SOMEBODY_ELSE))
    told = [line for line in run.said if line.startswith("not_removed")]
    assert sum("000004/sides" in line for line in told) == 1
    run.said.clear()
    run.run(6)
    [told] = [line for line in run.said if line.startswith("not_removed")]
    assert "; and 3 more like it" in told
    assert comparable(read_log(run.run_dir).records) == undisturbed


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_what_is_in_the_way_of_a_trial_that_runs_again_is_moved_aside(undisturbed, tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(6, worker_main=lambda folder: leave(folder, SOMEBODY_ELSE))
    shorten(run, 4)
    run.run(6)
    assert comparable(read_log(run.run_dir).records) == undisturbed
    assert sorted(path.name for path in (run.run_dir / "trials").glob("*.left")) == ["000005.1.left", "000006.1.left"]
    assert not list((run.run_dir / "trials" / "000006").glob("sides"))
    for path in run.run_dir.rglob("tree"):
        os.chown(path, os.getuid(), -1)
    run.run(6)
    assert not list((run.run_dir / "trials").glob("*.left"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_damaged_trial_with_such_a_folder_is_built_again(undisturbed, tmp_path):
    class Killed(BaseException):
        pass

    def killed(folder):
        leave(folder, SOMEBODY_ELSE)
        raise Killed

    run = SmallRun(tmp_path / "run")
    run.run(5)
    with pytest.raises(Killed):
        run.run(6, worker_main=killed)
    (run.run_dir / "trials" / "000006" / "trial.json").write_text("{")
    run.run(6)
    assert comparable(read_log(run.run_dir).records) == undisturbed
    assert any("sides.1.left" in line for line in run.said)
