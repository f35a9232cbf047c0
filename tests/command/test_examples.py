from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from supervisor.contract import Params, Version
from supervisor.external.command_settings import as_settings, parse_command
from supervisor.external.config_text import decode, read_values
from tests.support.programs import trial_spec
from tests.support.target_conformance import ManualControl, TargetConformance
from trainers.command import CommandTarget
from trainers.target import Control

EXAMPLES = Path(__file__).parents[2] / "search_spaces" / "external"
TARGET_KEYS = {"target", "kind", "frequency", "games_cheap", "contenders", "parameters"}
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="the Kalah example is compiled with cc")


def copy_of(name: str, parent: Path) -> dict[str, Any]:
    """The example copied out of the repository; its file, with the command's keys made ready."""
    folder = parent / "spaces"
    shutil.copytree(EXAMPLES / name, folder / name, dirs_exist_ok=True)
    body = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    settings = parse_command({key: value for key, value in body.items() if key not in TARGET_KEYS}, folder)
    return {"parameters": body["parameters"], "settings": as_settings(settings), "parsed": settings}


def defaults_of(example: dict[str, Any]) -> Params:
    settings = example["parsed"]
    return read_values(decode(settings.config_file.read_bytes()), settings.format, example["parameters"])


class ExampleConformance(TargetConformance):
    name = ""

    def open_target(self, folder: Path, control: Control) -> CommandTarget:
        return CommandTarget(trial_spec(copy_of(self.name, folder.parents[2])["settings"]), folder, control)


class TestLightCycles(ExampleConformance):
    name = "light_cycles"
    params: ClassVar[Params] = {"weights.territory": 1.0, "weights.hug": 0.5}


@needs_compiler
class TestKalah(ExampleConformance):
    name = "kalah"
    params: ClassVar[Params] = {"evaluation.side": 0.25, "evaluation.threat": 0.5}
    games = 40


@pytest.mark.parametrize("name", ["light_cycles", "kalah"])
def test_every_parameters_value_in_the_file_lies_in_its_range(name: str, tmp_path: Path) -> None:
    example = copy_of(name, tmp_path)
    for key, value in defaults_of(example).items():
        parameter = example["parameters"][key]
        assert parameter["low"] <= value <= parameter["high"]


LIGHT_CYCLES = ("territory", "room", "hug", "centre", "straight", "chase")
KALAH = ("side", "mobility", "far_pit", "extra_turn", "threat")


@pytest.mark.parametrize(
    ("name", "games", "first", "better"),
    [
        (
            "light_cycles",
            60,
            {
                f"weights.{key}": value
                for key, value in zip(LIGHT_CYCLES, (0.3, 0.2, -0.8, -0.2, 0.0, -0.5), strict=True)
            },
            {"weights.territory": 0.5, "weights.room": 0.8, "weights.hug": 1.5, "weights.chase": 0.1},
        ),
        pytest.param(
            "kalah",
            1000,
            {f"evaluation.{key}": value for key, value in zip(KALAH, (0.6, 0.5, 0.5, 0.0, 0.0), strict=True)},
            {"evaluation.side": 0.42, "evaluation.threat": 0.42},
            marks=needs_compiler,
        ),
    ],
)
def test_better_weights_win_clearly_more_games(
    name: str, games: int, first: dict[str, float], better: dict[str, float], tmp_path: Path
) -> None:
    """From the values as shipped, written out here: whoever ran the example has better ones in its file by now."""
    example = copy_of(name, tmp_path)
    before = example["parsed"].config_file.read_bytes()
    folder = tmp_path / "run" / "trials" / "000001"
    folder.mkdir(parents=True)
    target = CommandTarget(trial_spec(example["settings"]), folder, ManualControl())
    assert set(first) == set(example["parameters"])
    rates = []
    for params in (first, {**first, **better}):
        scores = target.incumbent(Version("v000001", 1, params, "")).play(10**6, games)
        rates.append(sum(scores) / games)
    target.close()
    assert 0.2 < rates[0] < 0.55
    assert rates[1] > rates[0] + 0.05
    assert example["parsed"].config_file.read_bytes() == before


@needs_compiler
def test_kalah_compiles_without_a_warning(tmp_path: Path) -> None:
    source = EXAMPLES / "kalah" / "kalah.c"
    command = [
        "cc",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-O2",
        "-o",
        str(tmp_path / "k"),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([tmp_path / "k", "--games", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--config" in done.stderr
