"""tools/continuous_training.py: the founding document's flags, and the class that runs the loop from Python."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.errors import ConfigurationError
from tests.support.command_line import NoopFolder, in_process
from tests.support.processes import ROOT
from tools.continuous_training import ContinuousTrainer, main


@pytest.fixture
def fresh(tmp_path):
    return NoopFolder.make(tmp_path)


def test_the_class_of_the_document_trains_with_the_games_it_was_given(fresh):
    trainer = ContinuousTrainer(
        games_per_iteration=50, config=fresh.config, run_dir=fresh.run_dir, max_iterations=4, checkpoint_interval=2
    )
    with in_process():
        assert trainer.train() == 0
    third, fourth = fresh.lines()[2:]
    assert (third.purpose, third.wins + third.draws + third.losses) == ("search", 50)
    assert fourth.iteration == json.loads((fresh.run_dir / "checkpoint.json").read_bytes())["iteration"]


def test_trained_again_it_goes_on(fresh):
    trainer = ContinuousTrainer(config=str(fresh.config), run_dir=str(fresh.run_dir))
    with in_process():
        trainer.train(single_iteration=True)
        trainer.train(single_iteration=True)
    assert [line.iteration for line in fresh.lines()] == [1, 2]


def test_a_mistake_in_the_configuration_is_raised_with_its_place(fresh):
    fresh.config.write_text("run: {sede: 7}\n")
    with pytest.raises(ConfigurationError, match=r"noop\.yaml:1:7: run\.sede"):
        ContinuousTrainer(config=fresh.config, run_dir=fresh.run_dir).train()


def test_the_flags_of_the_document_are_settings_of_the_run(fresh, capsys):
    flags = ["--games", "50", "--checkpoint-interval", "5", "--max-iterations", "1000", "--min-improvement", "0.002"]
    places = ["--config", str(fresh.config), "--run-dir", str(fresh.run_dir)]
    with in_process():
        assert main([*flags, *places, "--single-iteration"]) == 0
    decides = json.loads((fresh.run_dir / "run.json").read_bytes())["decides"]
    assert decides["run.games"] == 50
    assert decides["promotion.min_improvement"] == 0.002
    assert [line.iteration for line in fresh.lines()] == [1]


def test_errors_leave_with_the_exit_codes_of_the_command(fresh, capsys):
    fresh.config.write_text("run: {sede: 7}\n")
    assert main(["--config", str(fresh.config), "--run-dir", str(fresh.run_dir)]) == 3
    assert "run.sede" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["--fast"])
    assert left.value.code == 2


@pytest.mark.slow
def test_started_with_a_python_that_has_no_packages_it_goes_on_with_its_own():
    base = Path(sys._base_executable)
    done = subprocess.run(
        [base, "-I", str(ROOT / "tools" / "continuous_training.py"), "--help"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--checkpoint-interval" in done.stdout
