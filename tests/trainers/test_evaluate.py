from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers.evaluate import ROWS, GreedyPolicy, OnnxSession, entropy_bits, load_session
from trainers.export import onnx_bytes
from trainers.learner import Case, Exported
from trainers.models.combat_dqn import CombatDqn
from trainers.networks.mlp import QNetwork
from trainers.target import Player


def model_bytes(seed: int = 0) -> bytes:
    torch.manual_seed(seed)
    return onnx_bytes(QNetwork(64, (128, 128), 10).exported())


def linear_bytes(weight: torch.Tensor, bias: torch.Tensor) -> bytes:
    network = torch.nn.Linear(64, 10)
    network.load_state_dict({"weight": weight, "bias": bias})
    return onnx_bytes(Exported(network, {"state": (64,)}, {"q_values": (10,)}))


def outputs(session: OnnxSession, states: np.ndarray) -> np.ndarray:
    return session.run({"state": states})["q_values"]


def mixed_player() -> tuple[Player, list[float]]:
    """A side that wins some and loses some of 2 * ROWS + 9 games, whatever the levels are calibrated to."""
    for action in range(10):
        torch.manual_seed(action)
        bias = torch.zeros(10)
        bias[action] = 0.3
        data = linear_bytes(0.2 * torch.rand(10, 64), bias)
        for archetype in ("tank", "support", "mage", "aggressive"):
            player = CombatDqn().player(Case(archetype, 1, {}), OnnxSession(data))
            scores = player.play(1000, 2 * ROWS + 9)
            if 0.1 < sum(scores) / len(scores) < 0.9:
                return player, scores
    raise AssertionError("no such side was found")


def test_a_score_does_not_depend_on_how_games_are_grouped_into_calls() -> None:
    player, whole = mixed_player()
    parts = [player.play(1000 + start, games) for start, games in ((0, 3), (3, ROWS + 50), (ROWS + 53, ROWS - 44))]
    assert [score for part in parts for score in part] == whole
    assert player.play(5000, len(whole)) != whole


def test_an_answer_does_not_depend_on_its_row_or_on_its_neighbours() -> None:
    session = OnnxSession(model_bytes())
    rng = np.random.default_rng(0)
    states = rng.random((ROWS, 64), dtype=np.float32)
    answers = outputs(session, states)
    for _ in range(20):
        order = rng.permutation(ROWS)
        assert outputs(session, states[order]).tobytes() == answers[order].tobytes()
    alone = rng.random((ROWS, 64), dtype=np.float32)
    alone[17] = states[17]
    assert outputs(session, alone)[17].tobytes() == answers[17].tobytes()


def test_a_model_file_is_played_only_with_its_own_hash(tmp_path: Path) -> None:
    data = model_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    sha256 = durable.sha256_bytes(data)
    states = np.ones((2, 64), np.float32)
    assert outputs(load_session(path, sha256), states).tobytes() == outputs(OnnxSession(data), states).tobytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(TrialError, match=sha256):
        load_session(path, sha256)
    path.unlink()
    with pytest.raises(TrialError, match="unknown_version"):
        load_session(path, sha256)


def test_entropy_is_log2_of_the_number_of_equally_common_actions() -> None:
    assert entropy_bits(np.arange(1000) % 8, 10) == pytest.approx(3.0)
    assert entropy_bits(np.zeros(10, np.int64), 10) == 0.0
    assert entropy_bits(np.array([0, 0, 0, 1]), 10) == pytest.approx(0.811278, abs=1e-6)


def test_the_best_action_is_taken_and_of_equals_the_first() -> None:
    weight, bias = torch.zeros(10, 64), torch.tensor([0.0, 1, 5, 2, 5, 0, 0, 0, 0, 0])
    session = OnnxSession(linear_bytes(weight, bias))
    policy = GreedyPolicy(session, "state", "q_values")
    assert policy(np.ones((3, 64), np.float32)).tolist() == [2, 2, 2]
    assert session.latency_s({"state": np.ones((3, 64), np.float32)}) > 0
