"""Every built-in model type can be examined: its file against its untrained self, its baseline, its size, its speed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from supervisor.contract import ScoreTask
from supervisor.journal import durable
from supervisor.promotion import guards
from tests.support.arena_trials import default_params
from trainers import scorecard
from trainers.catalogue import CATALOGUE, model_type
from trainers.export import onnx_bytes
from trainers.learner import Case, ModelType
from trainers.parameters import fields, group

GAMES = 16


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_type_has_all_that_is_asked_of_one(name: str) -> None:
    asked = [member for member in vars(ModelType) if not member.startswith("_")]
    assert {"learner", "player", "rehearse", "baseline"} <= set(asked)
    kind = model_type(name)
    assert not [member for member in [*asked, "args", "names"] if not hasattr(kind, member)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_the_untrained_network_examined_as_a_version_gains_nothing_over_itself(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    target, params = f"mage/{name}", default_params(f"mage/{name}")
    rewards = group(params, "reward")
    kind = model_type(name)
    args = fields(kind.args, kind.names, {key: value for key, value in params.items() if key not in rewards})
    data = onnx_bytes(kind.learner(Case("mage", 2, rewards), args, 1, 7, None).exported())
    sha256 = durable.sha256_bytes(data)
    (tmp_path / f"{sha256}.onnx").write_bytes(data)
    card = scorecard.examine(ScoreTask(target, "v000001", sha256, params, 2, GAMES, 10**9, 7), tmp_path)
    assert (card.gain, card.learnt) == (0.0, False)
    assert card.trained == card.untrained
    assert card.parameters > 1000
    assert set(card.latency_ms) == {"batch_1", "batch_128"}
    assert all(math.isfinite(value) for value in card.measured.values())
    wanted = guards.applicable(name, has_model=True) & {"entropy_bits", "reward", "accuracy", "explained_variance"}
    assert wanted <= set(card.measured)
    assert 0 <= card.bar <= 1
