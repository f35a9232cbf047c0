"""The example of a model of one's own in trainers/README.md is a full citizen."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from supervisor.contract import Params
from supervisor.journal.log import read_log
from tests.support.shell import shell
from tests.support.target_conformance import TargetConformance
from trainers.custom import load_target
from trainers.single import single_spec
from trainers.target import Control, TrialTarget

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "trainers" / "README.md").read_text()


def block(language: str) -> str:
    [text] = re.findall(rf"```{language}\n(.*?)```\n", README, re.DOTALL)
    return text


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "lamps.py").write_text(block("python"))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("lamps", None)


class TestLamps(TargetConformance):
    params: Params = {"training.learning_rate": 1e-2, "ppo.horizon": 8, "ppo.epochs": 2}  # noqa: RUF012

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        return load_target("lamps:LampModel")(single_spec("mine/lamps", 1, self.params, 1600, 7), folder, control)

    def test_it_learns(self, folder: Path) -> None:
        from tests.support.target_conformance import ManualControl

        _, player = self.built_player(self.open_target(folder, ManualControl()), folder)
        assert sum(player.play(10**6, 400)) > 390


def test_a_class_that_is_neither_a_target_nor_a_model_is_told_of_both(module: Path) -> None:
    with pytest.raises(Exception, match=r"TrialTarget does, and trainers/learner.py what a ModelType does"):
        load_target("lamps:Lamps")


@pytest.mark.slow
def test_it_is_searched_as_the_readme_says(tmp_path: Path) -> None:
    (tmp_path / "lamps.py").write_text(block("python"))
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "lamps.yaml").write_text(block("yaml"))
    environ = {"PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    said = [shell(line, tmp_path, environ) for line in block("bash").splitlines()]
    assert "first incumbent -> v000001" in said[-1]
    assert [line.status for line in read_log(tmp_path / "lamps_run").records] == ["complete", "complete"]
