"""What a user's program finds in its environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.contract import Version
from tests.support.programs import PARAMS, command_settings, make_program, trial_spec
from tests.support.target_conformance import ManualControl
from trainers.command import CommandTarget


def play(folder: Path, told: Path, **settings: object) -> dict[str, str]:
    """The environment of the program that plays."""
    folder.mkdir(parents=True)
    evaluate = ["/bin/sh", "-c", f"env > {told}; echo '{{\"games\":[1,1,1]}}'"]
    program = make_program(told.parent / "user").parent
    spec = trial_spec(command_settings(program, evaluate=evaluate, **settings))
    target = CommandTarget(spec, folder, ManualControl())
    target.incumbent(Version("v000001", 1, PARAMS, "")).play(77, 3)
    target.close()
    return read(told)


def read(told: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "trials" / "000001"


def test_the_program_sees_the_documented_variables_and_none_of_our_secrets(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUMBENT_SERVING__TOKEN", "secret")
    monkeypatch.setenv("THEIR_OWN", "kept")
    seen = play(folder, tmp_path / "told")
    assert {name: value for name, value in seen.items() if name.startswith("INCUMBENT_")} == {
        "INCUMBENT_TRIAL": str(folder.resolve()),
        "INCUMBENT_TARGET": "examples/bot",
        "INCUMBENT_CONFIG": str(tmp_path / "user" / "config.yaml"),
        "INCUMBENT_GAMES": "3",
        "INCUMBENT_SEED": "77",
        "INCUMBENT_OUT": str(folder.resolve() / "external" / "answer.json"),
    }
    assert seen["THEIR_OWN"] == "kept"
    assert seen["PATH"] == os.environ["PATH"]


def test_the_program_and_its_build_know_the_trials_share_of_the_gpu(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUMBENT_VRAM_FRACTION", "0.15")
    built = tmp_path / "built"
    seen = play(folder, tmp_path / "told", build=["/bin/sh", "-c", f"env > {built}"])
    assert seen["INCUMBENT_VRAM_FRACTION"] == read(built)["INCUMBENT_VRAM_FRACTION"] == "0.15"
