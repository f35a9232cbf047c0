"""A few points of every cell of the fault matrix; `python -m tests.faults` tries them all."""

import subprocess
import sys

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.slow


def run(*arguments):
    command = [sys.executable, "-m", "tests.faults", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows(table):
    """Cell, tier, points, faults, passed, seconds."""
    return [[column.strip() for column in line.split("|")[1:-1]] for line in table.splitlines() if line[:1] == "|"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return run("--reduced", "--jobs", "1", "--dir", str(tmp_path_factory.mktemp("faults")))


def test_whatever_is_killed_refused_or_damaged_the_run_ends_as_if_undisturbed(ended):
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| **all** |" in ended.stdout


def test_no_cell_is_left_out_without_a_word(ended):
    listed = run("--reduced", "--list").stdout.splitlines()
    assert listed
    for line in listed:
        name = line[3:]  # behind the tier, with the promise
        [row] = [row for row in rows(ended.stdout) if name.startswith(f"{row[0]}: ")]
        assert row[4].startswith("not run: ") or int(row[4]) == int(row[2]) > 0, row


def test_a_matrix_that_tries_nothing_shows_nothing():
    ended = run("--cell", "no such cell")
    assert ended.returncode == 2
    assert "nothing was tried" in ended.stdout
