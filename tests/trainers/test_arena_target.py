from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from supervisor.contract import Params, TrialResult, Version, as_json, parse
from supervisor.errors import TrialError
from supervisor.journal import durable
from tests.support.arena_trials import RESUME_PARAMS, default_params, default_steps, small_spec, trial_folder
from trainers import arena_target, weights
from trainers.arena.arena import Arena
from trainers.arena_target import ArenaTarget
from trainers.build_stage import build_stage
from trainers.evaluate import OnnxSession
from trainers.learner import Exported
from trainers.ledger import Ledger
from trainers.models.combat_dqn import FIGHTS, REHEARSED_FIGHTS
from trainers.single import Undisturbed, train_and_score
from trainers.target import Built


def build(run_dir: Path, name: str = "000001", **changes) -> tuple[ArenaTarget, Built]:
    spec = small_spec(**{"rows": 10, **changes})
    folder = trial_folder(run_dir, name)
    target = ArenaTarget(spec, folder, Undisturbed())
    return target, target.build(spec.params, folder)


def refusal(tmp_path: Path, **changes) -> TrialError:
    with pytest.raises(TrialError) as caught:
        build(tmp_path, **changes)
    return caught.value


def answers(model: Path, states: np.ndarray) -> np.ndarray:
    return OnnxSession(model.read_bytes()).run({"state": states})["q_values"]


def stored(run_dir: Path, built: Built) -> Version:
    """The candidate as a version in the run folder's store."""
    assert built.model is not None
    assert built.weights is not None
    hashes = durable.sha256_file(built.model), durable.sha256_file(built.weights)
    (run_dir / "models").mkdir(exist_ok=True)
    (run_dir / "models" / f"{hashes[0]}.onnx").write_bytes(built.model.read_bytes())
    (run_dir / "models" / f"{hashes[1]}.pt").write_bytes(built.weights.read_bytes())
    return Version("v000001", 1, default_params(), hashes[0], hashes[1], built.interface, 1)


def test_a_candidate_has_its_files_its_interface_and_what_the_guards_ask_for(tmp_path: Path) -> None:
    _, built = build(tmp_path)
    assert built.steps == 10 * FIGHTS
    assert built.interface is not None
    assert (dict(built.interface.inputs), dict(built.interface.outputs)) == ({"state": (0, 64)}, {"q_values": (0, 10)})
    assert set(built.measured) == {
        "onnx_difference",
        "finite",
        "entropy_bits",
        "latency_ms_batch_1",
        "latency_ms_batch_128",
        "reward",
    }
    assert built.measured["onnx_difference"] <= 1e-4
    assert built.measured["finite"] == 1.0
    assert 0.0 <= built.measured["entropy_bits"] <= np.log2(10)
    assert built.measured["latency_ms_batch_1"] > 0.0
    assert built.latency["batch_128_p95_s"] * 1000 == built.measured["latency_ms_batch_128"]
    assert not [name for name in built.metrics if "latency" in name]


def test_the_measured_reward_is_the_mean_of_whole_fights_in_points(tmp_path: Path) -> None:
    _, built = build(tmp_path, params={"reward.scale": 0.3, "reward.kills": 0.0})
    assert built.model is not None
    first_seed = 7 + 10 * FIGHTS + arena_target.UNSEEN
    totals, session = [], OnnxSession(built.model.read_bytes())
    for seed in range(first_seed, first_seed + REHEARSED_FIGHTS):
        arena = Arena(1, "aggressive", 1, reopen=False)
        observation, total = arena.start([seed]), 0.0
        while arena.active.any():
            step = arena.step(session.run({"state": observation})["q_values"].argmax(1))
            observation, total = step.observation, total + float(step.reward[0])
        totals.append(total)
    assert built.measured["reward"] == pytest.approx(100 * sum(totals) / len(totals), rel=1e-4)
    assert built.metrics["reward"] == built.measured["reward"]


def test_two_builds_of_one_spec_agree_in_all_but_the_latencies(tmp_path: Path) -> None:
    (_, one), (_, two) = build(tmp_path / "a", "000001"), build(tmp_path / "b", "000009")
    assert one.metrics == two.metrics
    assert one.model is not None
    assert two.model is not None
    assert one.model.read_bytes() == two.model.read_bytes()
    _, other = build(tmp_path / "c", seed=8)
    assert other.model is not None
    assert one.model.read_bytes() != other.model.read_bytes()


def with_head(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor, Tensor], object]) -> None:
    """Files are written from networks whose last layer was changed."""
    honest = arena_target.onnx_bytes

    def dishonest(exported: Exported) -> bytes:
        network = copy.deepcopy(exported.network).requires_grad_(False)
        change(network.advantage.weight, network.advantage.bias)
        return honest(replace(exported, network=network))

    monkeypatch.setattr(arena_target, "onnx_bytes", dishonest)


def test_a_file_that_answers_otherwise_than_the_network_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_head(monkeypatch, lambda weight, bias: bias.add_(0.25))
    assert build(tmp_path)[1].measured["onnx_difference"] == pytest.approx(0.25, rel=1e-3)


def test_weights_that_are_not_finite_are_noticed_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_head(monkeypatch, lambda weight, bias: weight.mul_(float("nan")))
    measured = build(tmp_path)[1].measured
    assert (measured["finite"], measured["onnx_difference"]) == (0.0, pytest.approx(3.4e38, rel=0.01))


def test_the_candidate_plays_with_its_file_and_so_does_the_incumbent(tmp_path: Path) -> None:
    target, built = build(tmp_path)
    version = stored(tmp_path, built)
    assert built.model is not None
    assert list(target.candidate({}, built).play(5, 40)) == list(target.incumbent(version).play(5, 40))
    (tmp_path / "models" / f"{version.model_sha256}.onnx").write_bytes(b"something else")
    with pytest.raises(TrialError, match="unknown_version"):
        target.incumbent(version)


def test_the_resume_point_goes_once_the_candidate_is_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena_target, "SAVE_INTERVAL_S", -1.0)
    target, built = build(tmp_path)
    folder = tmp_path / "trials" / "000001"
    assert weights.load_point(folder) is not None
    target.candidate({}, built)
    assert sorted(path.name for path in folder.iterdir()) == ["final.pt", "model.onnx"]


def test_a_warm_start_goes_on_from_the_version_with_little_exploration(tmp_path: Path) -> None:
    _, first = build(tmp_path)
    version = stored(tmp_path, first)
    _, warm = build(tmp_path, "000002", start=version, params={"training.learning_rate": 2e-5})
    _, cold = build(tmp_path, "000003", params={"training.learning_rate": 2e-5})
    assert (warm.metrics["warm_start"], cold.metrics["warm_start"]) == (1.0, 0.0)
    states = np.random.default_rng(0).random((256, 64), dtype=np.float32)

    def distance(built: Built) -> float:
        assert first.model is not None
        assert built.model is not None
        q, origin = (answers(path, states) for path in (built.model, first.model))
        return float(np.abs(q - origin).mean())

    assert distance(warm) < distance(cold) / 3


@pytest.mark.parametrize("first_kind", [False, True])
def test_a_warm_start_changes_nothing_where_only_the_kind_of_head_differs(tmp_path: Path, first_kind: bool) -> None:
    _, first = build(tmp_path, params={"dqn.dueling": first_kind})
    version = stored(tmp_path, first)
    untrained: Params = {"dqn.dueling": not first_kind, "dqn.learning_starts": 1000}
    _, other = build(tmp_path, "000002", start=version, params=untrained)
    assert other.metrics["warm_start"] == 1.0
    assert first.model is not None
    assert other.model is not None
    states = np.random.default_rng(0).random((256, 64), dtype=np.float32)
    before, after = (answers(path, states) for path in (first.model, other.model))
    assert np.abs(after - before).max() < 1e-5


def test_a_warm_start_takes_what_fits_another_shape_and_then_explores_fully(tmp_path: Path) -> None:
    _, first = build(tmp_path)
    version = stored(tmp_path, first)
    untrained: Params = {"dqn.hidden": "128,96", "dqn.learning_starts": 1000}
    _, other = build(tmp_path, "000002", start=version, params=untrained)
    assert other.metrics["warm_start"] == 0.0
    assert first.weights is not None
    assert other.weights is not None
    before, after = (weights.unpack(path.read_bytes())["network"] for path in (first.weights, other.weights))
    assert torch.equal(after["hidden.0.weight"], before["hidden.0.weight"])
    assert after["hidden.1.weight"].shape == (96, 128)


def test_a_version_whose_weights_are_gone_or_damaged_is_refused(tmp_path: Path) -> None:
    _, first = build(tmp_path)
    version = stored(tmp_path, first)
    path = tmp_path / "models" / f"{version.weights_sha256}.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(TrialError, match="unknown_version"):
        build(tmp_path, "000002", start=version)
    path.unlink()
    with pytest.raises(TrialError, match="unknown_version"):
        build(tmp_path, "000003", start=version)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"dqn.learning_rat": 1e-3}, "dqn.learning_rat is unknown"),
        ({"reward.gold": 1.0}, "reward.gold: aggressive has no such reward"),
        ({"dqn.gamma": "high"}, "dqn.gamma is 'high', not float"),
        ({"dqn.hidden": "128;128"}, "hidden must be widths"),
        ({"dqn.updates": 0, "dqn.n_step": 40}, "updates must be at least 1; replay_rows must be above n_step"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_refused_by_name(tmp_path: Path, params: Params, said: str) -> None:
    error = refusal(tmp_path, params=params)
    assert error.reason == "out_of_range"
    assert said in error.detail


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    spec = small_spec()
    params = {name: value for name, value in spec.params.items() if name != "dqn.gamma"}
    with pytest.raises(TrialError, match=r"dqn\.gamma is missing"):
        ArenaTarget(spec, tmp_path, Undisturbed()).build(params, tmp_path)


def test_a_model_type_or_level_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="no built-in model type 'combat_dqm'; there are combat_dqn"):
        ArenaTarget(replace(small_spec(), target="aggressive/combat_dqm"), tmp_path, Undisturbed())
    assert refusal(tmp_path, level=99).reason == "out_of_range"


def test_numbers_that_blow_up_end_the_trial_with_their_reason(tmp_path: Path) -> None:
    error = refusal(tmp_path, rows=30, params={**RESUME_PARAMS, "training.learning_rate": 1e20})
    assert error.reason == "diverged"
    kept = weights.unpack((tmp_path / "trials" / "000001" / "last_good.pt").read_bytes())
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept["network"].values())
    assert "gradient step" in error.detail


def test_an_allocation_that_is_refused_is_out_of_memory(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        build(tmp_path, params={"dqn.hidden": "100000000,100000000"})


def test_the_build_stage_plays_the_screen_and_says_all_that_a_log_line_needs(tmp_path: Path) -> None:
    _, first = build(tmp_path)
    version = stored(tmp_path, first)
    seeds = {"train": 7, "screen": 1000, "topup": 9000}
    spec = small_spec(rows=10, incumbent=version, games=150, topup_games=20, seeds=seeds)
    folder = trial_folder(tmp_path, "000002")
    result = build_stage(spec, folder, ArenaTarget(spec, folder, Undisturbed()), Ledger(folder, Undisturbed()))
    assert (result.status, result.delta) == ("complete", 0.0)  # the same training as the incumbent's
    assert (result.model_sha256, result.weights_sha256) == (version.model_sha256, version.weights_sha256)
    assert {"incumbent_latency_ms_batch_1", "incumbent_latency_ms_batch_128"} < set(result.measured)
    assert (result.candidate.games, result.incumbent.games, result.topup.games, result.games) == (150, 150, 20, 320)
    assert parse(TrialResult, json.loads(durable.canonical_json(as_json(result)))) == result


@pytest.mark.slow
def test_the_default_trial_beats_the_first_level(tmp_path: Path) -> None:
    target = "aggressive/combat_dqn"
    trained = train_and_score("aggressive", 1, default_params(target), default_steps(target), seed=1, games=400)
    assert trained.score >= 0.6
    assert trained.built.metrics["train_score"] > 0.3
