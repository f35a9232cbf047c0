"""Somebody, or the program itself, changes the configuration file while a trial has it edited."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.contract import Params, Version
from supervisor.errors import TrialError
from tests.support.programs import (
    ANSWER,
    CONFIG,
    OTHER_PARAMS,
    PARAMS,
    PLAYER,
    calls,
    command_settings,
    make_program,
    trial_spec,
)
from tests.support.target_conformance import ManualControl
from trainers.command import CommandTarget


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "trials" / "000001"
    folder.mkdir(parents=True)
    return folder


def open_target(folder: Path, program: Path) -> CommandTarget:
    return CommandTarget(trial_spec(command_settings(program)), folder, ManualControl())


def play(target: CommandTarget, params: Params = PARAMS, games: int = 3) -> list[float]:
    return list(target.incumbent(Version("v000001", 1, params, "")).play(77, games))


EDIT_ONCE = """
if [ ! -e edited ]; then touch edited; echo '# my own' >> config.yaml; fi
"""


def test_a_users_edit_while_the_program_runs_is_kept_and_the_block_is_played_again(
    folder: Path, tmp_path: Path
) -> None:
    program = make_program(tmp_path / "user", EDIT_ONCE + PLAYER + ANSWER).parent
    target = open_target(folder, program)
    scores = play(target, OTHER_PARAMS)
    target.close()
    ours = CONFIG.replace("0.5", "0.75").replace("2  ", "3  ")
    assert len(calls(program)) == 2
    assert (program / "config.yaml").read_text() == ours + "# my own\n"
    assert (program / "config.yaml.incumbent-original").read_text() == CONFIG
    assert (program / "config.yaml.incumbent-trial").read_text() == ours
    (fact,) = map(json.loads, (folder / "facts.jsonl").read_text().splitlines())
    assert fact["fact"] == "user_file"
    assert "changed by somebody" in fact["event"]
    assert len(scores) == 3


def test_a_program_that_rewrites_its_own_configuration_is_told_what_to_do(folder: Path, tmp_path: Path) -> None:
    program = make_program(tmp_path / "user", "echo '# normalised' >> config.yaml\n" + PLAYER + ANSWER).parent
    target = open_target(folder, program)
    with pytest.raises(TrialError) as caught:
        play(target, OTHER_PARAMS)
    target.close()
    assert caught.value.reason == "config_file"
    assert "pass it a copy with {config}" in caught.value.detail
    assert (program / "config.yaml.incumbent-original").read_text() == CONFIG


def test_a_torn_fact_of_a_killed_attempt_does_not_spoil_the_next_one(folder: Path, tmp_path: Path) -> None:
    program = make_program(tmp_path / "user", EDIT_ONCE + PLAYER + ANSWER).parent
    (folder / "facts.jsonl").write_text('{"fact":"earlier"}\n{"fact":"to')
    target = open_target(folder, program)
    play(target)
    target.close()
    facts = [json.loads(line)["fact"] for line in (folder / "facts.jsonl").read_text().splitlines()]
    assert facts == ["earlier", "user_file"]
