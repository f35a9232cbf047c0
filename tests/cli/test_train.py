"""`incumbent train`, through a real process: trained, examined, registered; interrupted, it goes on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.journal.log import read_log
from supervisor.registry.active import ActiveFile
from tests.support.command_line import call
from tests.support.processes import ROOT, wait_for

ONE = ("--archetypes", "mage", "--model-types", "combat_dqn")


def command(run_dir: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "supervisor", "train", "--run-dir", str(run_dir), "--games", "100", *flags]


def run(run_dir: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(run_dir, *flags), capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "say what: --all"),
        (("--archetypes", "bard"), "'bard': no such name"),
        (("--model-types", "combat_dqm"), "did you mean 'combat_dqn'"),
        (("--all", "--device", "cuda:0"), "--device cuda:0"),
        ((*ONE, "--lr", "7"), "mage/combat_dqn: training.learning_rate"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_written(
    flags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    refused = call("train", "--run-dir", str(run_dir), *flags)
    assert refused.code == 2
    assert said in refused.out + refused.err
    assert not run_dir.exists()


@pytest.mark.slow
def test_a_model_is_trained_registered_and_measured_and_a_second_call_only_shows_it(tmp_path: Path) -> None:
    done = run(tmp_path / "run", *ONE, "--epochs", "4", "--workers", "1")
    assert done.returncode in (0, 1), done.stderr  # so little training need not show
    assert "1 of 1 targets are trained" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("mage/combat_dqn"))
    assert re.search(r"[+-]\d+\.\d \([+-]\d+\.\d to [+-]\d+\.\d\)", row)
    assert (tmp_path / "run" / "reports" / "train.md").read_text().count("mage/combat_dqn") == 1
    active = ActiveFile.read(tmp_path / "run")
    assert active is not None
    assert active.targets["mage/combat_dqn"].version == "v000001"
    line = read_log(tmp_path / "run").records[0]
    assert (line.steps, line.purpose) == (31744, "baseline")
    again = run(tmp_path / "run", *ONE, "--epochs", "4", "--workers", "1")
    assert row in again.stdout
    assert "are trained" not in again.stdout
    assert "examined" not in again.stdout
    assert len(read_log(tmp_path / "run").records) == 1


@pytest.mark.slow
def test_interrupted_it_goes_on_with_what_is_left(tmp_path: Path) -> None:
    both = ("--archetypes", "mage,tank", "--model-types", "combat_dqn", "--workers", "1", "--epochs", "25")
    first = subprocess.Popen(command(tmp_path / "run", *both), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    wait_for("the second training", lambda: (tmp_path / "run" / "trials" / "000002" / "heartbeat").exists())
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=60)[0]
    assert first.returncode == 130
    assert "1 of 2 targets are left; the same command goes on with them" in said
    assert len(read_log(tmp_path / "run").records) == 1
    done = run(tmp_path / "run", *both)
    assert "1 of 2 targets are trained" in done.stdout
    assert [line.target for line in read_log(tmp_path / "run").records] == ["mage/combat_dqn", "tank/combat_dqn"]
