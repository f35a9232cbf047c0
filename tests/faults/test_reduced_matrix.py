"""A few points of every cell of the fault matrix; `python -m tests.faults` tries them all."""

import subprocess
import sys

import pytest

from tests.support.processes import ROOT

NOT_RUN = "not run here:"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, "-m", "tests.faults", "--reduced", "--jobs", "1", "--dir", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_whatever_is_killed_refused_or_damaged_the_run_ends_as_if_undisturbed(ended):
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| **all** |" in ended.stdout


def test_this_machine_has_what_every_cell_needs(ended):
    missing = [line for line in ended.stdout.splitlines() if NOT_RUN in line]
    if missing:
        pytest.skip("; ".join(missing))


def test_a_matrix_that_tries_nothing_shows_nothing():
    command = [sys.executable, "-m", "tests.faults", "--cell", "no such cell"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "nothing was tried" in ended.stdout
