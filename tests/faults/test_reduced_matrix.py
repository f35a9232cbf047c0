"""A few points of every cell of the fault matrix; `python -m tests.faults` tries them all."""

import subprocess
import sys

from tests.support.processes import ROOT


def test_whatever_is_killed_refused_or_damaged_the_run_ends_as_if_undisturbed(tmp_path):
    command = [sys.executable, "-m", "tests.faults", "--reduced", "--jobs", "1", "--dir", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| **all** |" in ended.stdout
