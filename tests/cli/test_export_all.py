"""`incumbent export --all`: files and manifest of a folder, converted, compared, refused where they differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from supervisor.journal import durable
from supervisor.serving.graph import check_model
from tests.support.command_line import call
from tests.support.onnx_models import INTERFACE, model
from tests.support.served_folder import ServedFolder
from tests.support.untrained import folder_of
from trainers.catalogue import CATALOGUE
from trainers.evaluate import OnnxSession
from trainers.jobs.precision import halved, simplified

SOME = ("aggressive/combat_dqn", "aggressive/skill_dqn", "mage/combat_dqn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ServedFolder:
    return folder_of(tmp_path_factory.mktemp("models") / "run", *SOME)


def export(folder: ServedFolder, output: Path, *flags: str):
    return call("export", "--run-dir", str(folder.path), "--output", str(output), *flags)


def manifest(output: Path) -> dict[str, dict[str, object]]:
    return json.loads((output / "manifest.json").read_text())["files"]


def test_all_models_come_as_verified_fp16_files_that_the_server_would_take(folder, tmp_path):
    answer = export(folder, tmp_path, "--all", "--verify", "--optimize")
    assert answer.code == 0, answer.err
    assert "3 models as fp16 and verified" in answer.out
    files = manifest(tmp_path)
    assert sorted(files) == [f"{key.replace('/', '.')}.onnx" for key in SOME]
    for name, entry in files.items():
        data = (tmp_path / name).read_bytes()
        registered = folder.model_path(folder.active[entry["target"]]).read_bytes()
        assert entry["sha256"] == durable.sha256_bytes(data)
        assert len(data) < 0.6 * len(registered)
        assert 0 < entry["difference"] <= 1e-2
        assert entry["equal_choices"] >= 0.995
        assert entry["inputs"]["state"] == ["batch", 64]
        assert (entry["version"], entry["precision"], entry["verified"]) == (
            folder.active[entry["target"]].name,
            "fp16",
            True,
        )
        check_model(data, max_rows=256)


@pytest.mark.usefixtures("inline_jobs")
def test_chosen_ones_come_in_full_precision_and_the_manifest_keeps_the_others(folder, tmp_path):
    assert export(folder, tmp_path, "--archetypes", "mage").code == 0
    assert export(folder, tmp_path, "--archetypes", "aggressive", "--model-types", "combat_dqn", "--fp32").code == 0
    files = manifest(tmp_path)
    assert {name: entry["precision"] for name, entry in files.items()} == {
        "aggressive.combat_dqn.onnx": "fp32",
        "mage.combat_dqn.onnx": "fp16",
    }
    master = folder.model_path(folder.active["aggressive/combat_dqn"])
    assert (tmp_path / "aggressive.combat_dqn.onnx").read_bytes() == master.read_bytes()


@pytest.mark.usefixtures("inline_jobs")
def test_one_whose_answers_differ_is_named_and_not_written(tmp_path):
    """Weights of 1e5 are beyond the largest number of FP16."""
    weights = onnx.numpy_helper.from_array(np.full((64, 10), 1e5, np.float32), "w")
    data = model([onnx.helper.make_node("MatMul", ["state", "w"], ["q_values"])], [weights])
    folder = ServedFolder(tmp_path / "run")
    folder.promote(data, "my/game", INTERFACE)
    assert export(folder, tmp_path / "out", "--all", "--fp32").code == 0
    answer = export(folder, tmp_path / "out", "--all", "--verify")
    assert answer.code == 1
    assert "my/game: it " in answer.err
    assert "my/game" in answer.err
    assert not (tmp_path / "out" / "my.game.onnx").exists()
    assert manifest(tmp_path / "out") == {}
    assert export(folder, tmp_path / "out", "--all", "--verify", "--fp32").code == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "say what: TARGET FILE"),
        (("--archetypes", "bard"), "'bard': no such name"),
        (("--model-types", "combat_dqm"), "did you mean 'combat_dqn'"),
        (("--archetypes", "mage", "--model-types", "skill_dqn"), "there are aggressive/combat_dqn"),
        (("mage/combat_dqn", "x.onnx", "--fp32"), "copies the registered file"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_there_is(folder, tmp_path, flags, said):
    answer = export(folder, tmp_path / "out", *flags)
    assert (answer.code, (tmp_path / "out").exists()) == (2, False)
    assert said in answer.err


def test_a_folder_without_models_says_what_makes_them(tmp_path):
    answer = call("export", "--run-dir", str(tmp_path), "--all", "--output", str(tmp_path / "out"))
    assert answer.code == 2
    assert "incumbent train" in answer.err


def test_ids_of_skills_survive_half_precision(folder):
    """The embedding of every id, 0 to 23, is the one that full precision looks up."""
    master = folder.model_path(folder.active["aggressive/skill_dqn"]).read_bytes()
    half = OnnxSession(halved(simplified(master)))
    skills = np.zeros((24, 8), np.float32)
    skills[:, :7] = (np.arange(24)[:, None] + np.arange(7)) % 24
    rows = {"state": np.zeros((24, 64), np.float32), "skills": skills}
    expected, found = OnnxSession(master).run(rows)["q_values"], half.run(rows)["q_values"]
    assert np.abs(expected - found).max() < 1e-2 < np.abs(np.diff(expected, axis=0)).max()


@pytest.mark.slow
def test_all_nine_model_types_come_verified_in_both_precisions(tmp_path):
    folder = folder_of(tmp_path / "run", *(f"aggressive/{name}" for name in CATALOGUE))
    assert export(folder, tmp_path / "half", "--all", "--verify").code == 0
    assert export(folder, tmp_path / "full", "--all", "--verify", "--optimize", "--fp32").code == 0
    assert len(manifest(tmp_path / "half")) == len(manifest(tmp_path / "full")) == len(CATALOGUE)
    for path in (*(tmp_path / "half").glob("*.onnx"), *(tmp_path / "full").glob("*.onnx")):
        check_model(path.read_bytes(), max_rows=256)
