"""What each command says and leaves with when the command line, the configuration or the folder is wrong."""

import pytest

from supervisor.cli import app
from tests.support.command_line import call, process

FIVE_MISTAKES = """\
run:
  seed: seven
  gamess: 30
promotion:
  alpha: 1.5
search:
  sampler: sspa
budgets:
  ram_mb: 4096
  ram_mb: 8192
"""


def test_five_different_mistakes_are_reported_together_with_place_and_remedy(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(FIVE_MISTAKES)
    answer = process("validate", str(path))
    assert answer.code == 3
    assert answer.out == ""
    lines = answer.err.splitlines()
    expected = [
        ("2:9", "run.seed", "whole number"),
        ("3:3", "run.gamess", "did you mean 'games'?"),
        ("5:10", "promotion.alpha", "a number below 1"),
        ("7:12", "search.sampler", "did you mean 'spsa'?"),
        ("10:3", "budgets.ram_mb", "keep one of them"),
    ]
    assert len(lines) == len(expected), answer.err
    for line, (place, name, remedy) in zip(lines, expected, strict=True):
        assert line.startswith(f"{path}:{place}: {name}: "), line
        assert remedy in line, line
        assert ";" in line, f"what is wrong and what to do: {line}"


def test_run_refuses_a_wrong_configuration_before_it_writes_anything(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(FIVE_MISTAKES)
    answer = call("run", "--run-dir", str(tmp_path / "run"), "--config", str(path))
    assert answer.code == 3
    assert len(answer.err.splitlines()) == 5
    assert not (tmp_path / "run").exists()


def test_a_configuration_file_that_is_not_there_is_named(tmp_path):
    answer = call("validate", str(tmp_path / "none.yaml"))
    assert answer.code == 3
    assert "none.yaml" in answer.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fly"], "fly"),
        (["run", "--fast"], "--fast"),
        (["run", "--seed", "seven"], "--seed"),
        (["status", "extra"], "extra"),
        (["export", "aggressive/noop"], "output"),
    ],
)
def test_a_wrong_command_line_leaves_with_2_and_names_what_is_wrong(arguments, named):
    answer = call(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("Usage: incumbent")
    assert named in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("command", ["status", "pause", "resume", "stop", "dashboard"])
def test_a_folder_without_a_run_is_a_usage_error_that_says_what_to_do(command, tmp_path):
    answer = call(command, "--run-dir", str(tmp_path / "nothing"))
    assert answer.code == 2
    assert "--run-dir" in answer.err
    assert not (tmp_path / "nothing").exists()


def test_a_flag_out_of_range_is_answered_like_a_mistake_in_a_file(tmp_path):
    answer = call("run", "--run-dir", str(tmp_path / "run"), "--min-improvement", "2")
    assert answer.code == 3
    assert "promotion.min_improvement" in answer.err
    assert "--min-improvement" in answer.err or "flag" in answer.err


def test_a_target_that_matches_nothing_is_answered_with_what_is_near(tmp_path):
    answer = call("run", "--run-dir", str(tmp_path / "run"), "--targets", "agressive/combat_dqn")
    assert answer.code == 3
    assert "aggressive/combat_dqn" in answer.err


def test_help_names_every_command_and_tells_each_in_a_whole_sentence():
    answer = call("--help")
    assert answer.code == 0
    for command in app.registered_commands:
        assert command.callback is not None
        line = next(line for line in answer.out.splitlines() if line.split()[:1] == [command.callback.__name__])
        assert line.endswith("."), line
        assert not line.endswith("..."), line
