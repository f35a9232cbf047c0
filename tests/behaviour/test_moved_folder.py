"""A run folder that is moved or copied goes on under its new name, a trial in flight included."""

import shutil
from unittest import mock

import optuna
import pytest

from supervisor.search.projection import study_db_url
from tests.support import command_line
from tests.support.command_line import TARGETS, NoopFolder
from tests.support.small_run import comparable


class Killed(BaseException):
    """Stands for SIGKILL inside this process: nothing in between may catch it."""


def killed(folder):
    raise Killed


@pytest.fixture
def interrupted(finished_run, tmp_path):
    """Killed in the middle of iteration 13."""
    run = finished_run.copy(tmp_path)
    with mock.patch.object(command_line, "work", killed), pytest.raises(Killed):
        run.call_with_config("run", "--max-iterations", "13")
    return run


def go(run):
    answer = run.call_with_config("run", "--max-iterations", "15")
    assert answer.code == 0, answer.err
    assert "Resumed from checkpoint: iteration 12" in answer.out
    return comparable(run.lines())


def shown(run):
    return sorted(
        trial.user_attrs["iteration"]
        for target in TARGETS
        for trial in optuna.load_study(study_name=target, storage=study_db_url(run.run_dir)).trials
    )


def test_a_moved_folder_goes_on_and_says_nothing_of_it(interrupted, finished_run, tmp_path):
    undisturbed = go(finished_run.copy(tmp_path / "undisturbed"))
    elsewhere = tmp_path / "another place" / "with another name"
    elsewhere.parent.mkdir()
    interrupted.run_dir.rename(elsewhere)
    moved = NoopFolder(elsewhere, interrupted.config)
    assert go(moved) == undisturbed
    assert shown(moved) == list(range(1, 16))
    assert not {"history_lost", "log_rewritten", "settings_changed", "trial_restarted"} & set(moved.events())
    assert not interrupted.run_dir.exists()


def test_a_copy_is_a_run_of_its_own_that_ends_the_same(interrupted, tmp_path):
    copy = NoopFolder(tmp_path / "copy", interrupted.config)
    shutil.copytree(interrupted.run_dir, copy.run_dir)
    first = go(copy)
    assert go(interrupted) == first
    assert shown(copy) == shown(interrupted) == list(range(1, 16))
