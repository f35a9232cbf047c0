"""What each command says and leaves with when the command line, the configuration or the folder is wrong."""

import errno
import os
import socket

import pytest
import typer.main

from supervisor import cli
from supervisor.cli import app
from supervisor.commands.serve import token_of
from supervisor.config.settings import Settings
from supervisor.errors import ConfigurationError
from tests.support.command_line import NoopFolder, call, process


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two iterations."""
    folder = NoopFolder.make(tmp_path_factory.mktemp("finished"))
    assert folder.call_with_config("run", "--max-iterations", "2").code == 0
    return folder


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
        (["export", "a/b", "c", "d"], "d"),
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
    for command in typer.main.get_command(app).commands:
        line = next(line for line in answer.out.splitlines() if line.split()[:1] == [command])
        assert line.endswith("."), line
        assert not line.endswith("..."), line


def is_one_message(answer, code, *named):
    assert answer.code == code, answer
    assert len(answer.err.splitlines()) == 1, answer.err
    assert ";" in answer.err, f"what is wrong and what to do: {answer.err}"
    for name in named:
        assert name in answer.err


def test_a_run_folder_that_is_a_file_is_a_wrong_path(tmp_path):
    folder = NoopFolder.make(tmp_path)
    folder.run_dir.write_text("")
    is_one_message(folder.call_with_config("run"), 2, str(folder.run_dir), "File exists")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_folder_that_may_not_be_written_is_a_wrong_path(tmp_path):
    folder = NoopFolder.make(tmp_path)
    folder.run_dir.mkdir(mode=0o500)
    is_one_message(folder.call_with_config("run"), 2, str(folder.run_dir), "Permission denied")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, 2),
        (errno.EROFS, 2),
        (errno.ENOENT, 2),
        (errno.ESTALE, 5),
        (errno.ENODEV, 5),
        (errno.EIO, 75),
        (errno.ENOSPC, 75),
        (errno.EMFILE, 75),
        (errno.ENFILE, 75),
    ],
)
def test_what_the_system_refuses_is_one_message_and_tells_paths_from_disks(monkeypatch, number, code):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(cli, "app", refused)
    is_one_message(call("run"), code, "/some/file: ", os.strerror(number))


def test_a_process_without_a_free_descriptor_says_so_even_where_no_file_is_named(monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(cli, "app", fail)
    is_one_message(call("run"), 75, "ulimit -n")


def test_an_error_that_names_no_file_is_no_mistake_of_the_operator(monkeypatch):
    def fail(*_, **__):
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ConnectionResetError):
        call("run")


def test_export_to_a_folder_that_is_not_there_is_a_wrong_path(finished, tmp_path):
    output = tmp_path / "none" / "x.onnx"
    is_one_message(finished.call("export", "aggressive/noop", str(output)), 2, str(output))


def test_a_damaged_active_file_is_damaged_state_for_every_command_that_needs_it(finished, tmp_path):
    folder = finished.copy(tmp_path)
    active = folder.run_dir / "models" / "active.json"
    active.write_text("{")
    is_one_message(folder.call("export", "aggressive/noop", str(tmp_path / "x")), 6, str(active))
    is_one_message(folder.call_with_config("run", "--dry-run"), 6, str(active))


def test_a_token_file_that_is_no_text_is_a_mistake_of_the_configuration(tmp_path):
    token = tmp_path / "token"
    token.write_bytes(b"\xff\xfe\x00")
    settings = Settings.model_validate({"serving": {"token_file": str(token)}})
    with pytest.raises(ConfigurationError, match=rf"{token}: serving\.token_file: not text in UTF-8; name"):
        token_of(settings)
    token.write_text(" secret\n")
    assert token_of(settings) == "secret"


@pytest.mark.parametrize(
    ("text", "what"),
    [("hunter2\nadmin", "character 8"), ("hunter2\N{EURO SIGN}", "character 8"), (" \n", "empty")],
)
@pytest.mark.parametrize("command", [("run", "--max-iterations", "2"), ("serve",)])
def test_a_token_that_no_header_can_carry_stops_run_and_server_and_is_never_repeated(
    finished, tmp_path, command, text, what
):
    folder = finished.copy(tmp_path)
    token = tmp_path / "token"
    token.write_text(text, encoding="utf-8")
    config = tmp_path / "with_token.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that a server that accepts the token ends nevertheless
        serving = f"{{port: {taken.getsockname()[1]}, token_file: token}}"
        config.write_text(folder.config.read_text().replace("{port: 9}", serving))
        answer = folder.call(*command, "--config", str(config))
    is_one_message(answer, 3, f"{token}: serving.token_file: ", what)
    assert "hunter2" not in answer.out + answer.err
    assert not any(b"hunter2" in path.read_bytes() for path in folder.run_dir.rglob("*") if path.is_file())
