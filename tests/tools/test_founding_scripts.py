"""The scripts under the founding document's names: its command lines mean what they say, and the cheap ones run."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from importlib import import_module

import pytest
import typer.main

from supervisor.cli import app
from tests.support.processes import ROOT
from tests.support.untrained import folder_of

LINES = """
collect_initial_data.py --all --samples-per-archetype 10000
train_all_models.py --all --epochs 100
train_all_models.py --archetypes aggressive --epochs 50
train_all_models.py --archetypes aggressive defensive --model-types combat_dqn movement_ppo --epochs 100
train_all_models.py --all --epochs 100 --batch-size 256 --lr 0.0003
train_all_models.py --archetypes aggressive mage ranged --model-types combat_dqn movement_ppo spatial_vit --epochs 50 \
 --batch-size 128 --lr 0.0001 --device cuda:0
train_all_models.py --all --model-types combat_dqn movement_ppo threat_assessment --epochs 100
train_all_models.py --all --model-types spatial_vit temporal_transformer pattern_recognition --epochs 100
train_all_models.py --all --model-types team_coordination soft_actor_critic skill_dqn --epochs 100
evaluate_models.py --archetype aggressive --model-type combat_dqn --num-episodes 100
evaluate_models.py --archetype aggressive --num-episodes 100 --save-report
export_to_onnx.py --all --verify
export_to_onnx.py --all --optimize --verify
export_to_onnx.py --all --verify --optimize
export_to_onnx.py --archetypes aggressive --model-types combat_dqn --fp32
deploy_models.py --all
transfer_learning.py --source-archetype aggressive --target-archetype mage --model-type combat_dqn
train_coordination.py --archetype aggressive --pack-size 5 --episodes 1000
analyze_rewards.py
profile_training.py
"""
COMMAND_LINES = LINES.replace("\\\n", "").strip().splitlines()
NAMES = sorted({line.split()[0].removesuffix(".py") for line in COMMAND_LINES})


def script(name: str):
    return import_module(f"tools.{name}").SCRIPT


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_of_the_document_is_one_of_incumbent(line):
    name, *flags = shlex.split(line)
    words = script(name.removesuffix(".py")).command_line(flags)
    command = typer.main.get_command(app).commands[words[0]]
    with contextlib.closing(command.make_context(words[0], list(words[1:]))) as context:
        given = {name for name, value in context.params.items() if value not in (None, False)}
    asked = {flag.removeprefix("--").replace("-", "_") for flag in flags if flag.startswith("--")}
    assert {"every" if name == "all" else name for name in asked} <= given


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_of_a_script_is_one_of_its_command(name):
    known = script(name)
    command = typer.main.get_command(app).commands[known.command]
    flags = {option for parameter in command.params for option in parameter.opts}
    assert {flag.name for flag in known.flags} - {"--parallel"} <= flags
    assert os.access(ROOT / "tools" / f"{name}.py", os.X_OK)


def test_lists_are_handed_over_with_commas():
    words = script("export_to_onnx").command_line(["--archetypes", "aggressive", "mage", "--fp32"])
    assert words == ["export", "--archetypes", "aggressive,mage", "--fp32"]


def test_models_are_trained_one_after_the_other_unless_parallel_is_asked_for():
    train = script("train_all_models").command_line
    assert train(["--all"]) == ["train", "--all", "--workers", "1"]
    assert train(["--all", "--parallel"]) == ["train", "--all"]
    assert train(["--all", "--workers", "3"]) == ["train", "--all", "--workers", "3"]


def test_what_a_script_does_not_know_leaves_with_2(capsys):
    with pytest.raises(SystemExit) as left:
        script("deploy_models").run(["--fast"])
    assert left.value.code == 2


def test_an_error_of_the_command_is_the_scripts(tmp_path, capsys):
    assert script("deploy_models").run(["--all", "--run-dir", str(tmp_path / "none")]) == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.usefixtures("inline_jobs")
def test_the_cheap_ones_run(tmp_path, capsys):
    run_dir = str(folder_of(tmp_path / "run", "aggressive/combat_dqn").path)
    out = str(tmp_path / "out")
    (tmp_path / "nobody.yaml").write_text("serving: {port: 9}\n")
    for name, flags in (
        ("collect_initial_data", ["--archetypes", "mage", "tank", "--samples-per-archetype", "100", "--output", out]),
        ("analyze_rewards", ["--data", out]),
        ("export_to_onnx", ["--all", "--verify", "--optimize", "--output", str(tmp_path / "files")]),
        ("deploy_models", ["--all", "--config", str(tmp_path / "nobody.yaml")]),
        ("profile_training", ["--seconds", "1", "--json"]),
    ):
        assert script(name).run([*flags, "--run-dir", run_dir]) == 0, (name, capsys.readouterr())
    assert json.loads((tmp_path / "files" / "manifest.json").read_text())["files"]


def test_a_script_runs_from_anywhere(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "train_all_models.py"), "--archetypes", "bard", "--run-dir", "r"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "'bard': no such name" in done.stderr) == (2, True), done.stderr
