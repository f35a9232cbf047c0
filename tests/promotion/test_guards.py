"""What a winner must hold besides winning."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from supervisor.config.settings import GUARD_PRESETS, GuardSettings
from supervisor.contract import DuelResult, Guard, Interface, Reason, Status, Tally, TrialResult
from supervisor.promotion import guards

MODEL_TYPES = [
    "combat_dqn",
    "movement_ppo",
    "skill_dqn",
    "threat_assessment",
    "team_coordination",
    "spatial_vit",
    "temporal_transformer",
    "pattern_recognition",
    "soft_actor_critic",
]
SETTINGS = GuardSettings()
GOOD = {"onnx_difference": 1e-6, "latency_ms_batch_1": 0.1, "latency_ms_batch_128": 2.0}
FACE = Interface({"state": (0, 64)}, {"q": (0, 10)})
RESULT = TrialResult(7, Status.COMPLETE, candidate=Tally(60, 0, 40), interface=FACE, measured=GOOD)
DUEL = DuelResult(7, Status.COMPLETE, None, None, measured_candidate=Tally(30, 0, 70))


def _measured(**values):
    return replace(RESULT, measured={**GOOD, **values})


def _evaluate(result, settings=SETTINGS, model_type="combat_dqn", duel=DUEL, first=False):
    return guards.evaluate(settings, model_type, result, duel, first)


def test_a_sound_candidate_passes_every_guard():
    found = _evaluate(RESULT)
    assert set(found) == {"finite", "onnx_difference", "latency_ms_batch_1", "latency_ms_batch_128", "win_rate"}
    assert all(guard.passed for guard in found.values())


def test_the_win_rate_is_that_of_the_fresh_measuring_games():
    assert _evaluate(RESULT)["win_rate"] == Guard(0.3, 0.2, True)
    assert _evaluate(RESULT, duel=None)["win_rate"] == Guard(0.6, 0.2, True)
    unmeasured = replace(DUEL, measured_candidate=Tally())
    assert _evaluate(RESULT, duel=unmeasured)["win_rate"] == Guard(0.6, 0.2, True)
    weak = replace(DUEL, measured_candidate=Tally(19, 0, 81))
    assert not _evaluate(RESULT, duel=weak)["win_rate"].passed


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("onnx_difference", 1e-4, 1.001e-4),
        ("latency_ms_batch_1", 50.0, 50.1),
        ("latency_ms_batch_128", 50.0, 50.1),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_technical_guard_holds_at_its_bound_and_fails_beyond(name, inside, outside, first):
    assert _evaluate(_measured(**{name: inside}), first=first)[name].passed
    assert _evaluate(_measured(**{name: outside}), first=first)[name] == Guard(outside, inside, False)


def test_a_winner_may_be_slow_where_the_incumbent_is_slow_too():
    slow = _measured(latency_ms_batch_128=89.0, incumbent_latency_ms_batch_128=60.0)
    assert _evaluate(slow)["latency_ms_batch_128"] == Guard(89.0, 90.0, True)
    assert not _evaluate(_measured(latency_ms_batch_128=89.0))["latency_ms_batch_128"].passed


def test_without_a_latency_limit_there_is_no_latency_guard():
    found = _evaluate(_measured(latency_ms_batch_1=1e6), GuardSettings(max_latency_ms=None))
    assert not set(found) & set(guards.LATENCIES_MS)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_quantity_that_was_not_measured_does_not_hold(name):
    measured = {key: value for key, value in GOOD.items() if key != name}
    guard = _evaluate(replace(RESULT, measured=measured))[name]
    assert guard.value is None
    assert not guard.passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("first", [True, False])
def test_a_number_that_is_not_finite_never_passes_and_never_reaches_the_log(value, first):
    found = _evaluate(_measured(onnx_difference=value, loss=value), first=first)
    assert found["finite"] == Guard(2.0, 0.0, False)
    assert all(guard.value is None or math.isfinite(guard.value) for guard in found.values())
    if value > 0 or math.isnan(value):
        assert not found["onnx_difference"].passed


def test_a_model_that_answered_with_nan_is_known_by_the_trials_own_word():
    assert _evaluate(_measured(finite=1.0))["finite"].passed
    assert _evaluate(_measured(finite=0.0), first=True)["finite"] == Guard(1.0, 0.0, False)


def test_an_fp16_export_has_bounds_of_its_own_where_there_is_one():
    assert "onnx_difference_fp16" not in _evaluate(RESULT)
    fine = _evaluate(_measured(onnx_difference_fp16=9e-3, equal_actions_fp16=0.996))
    assert fine["onnx_difference_fp16"].passed
    assert fine["equal_actions_fp16"].passed
    coarse = _evaluate(_measured(onnx_difference_fp16=2e-2, equal_actions_fp16=0.99))
    assert not coarse["onnx_difference_fp16"].passed
    assert not coarse["equal_actions_fp16"].passed
    assert not _evaluate(_measured(onnx_difference_fp16=9e-3))["equal_actions_fp16"].passed


def test_the_first_incumbent_needs_the_technical_guards_only():
    useless = replace(RESULT, candidate=Tally(0, 0, 50))
    found = _evaluate(useless, GuardSettings(min_entropy_bits=2.0), duel=None, first=True)
    assert set(found) == {"finite", "onnx_difference", "latency_ms_batch_1", "latency_ms_batch_128"}
    assert all(guard.passed for guard in found.values())


def test_an_external_target_has_no_model_and_so_no_guards_on_one():
    external = replace(RESULT, interface=None, measured={})
    assert set(_evaluate(external, model_type="wolves")) == {"finite", "win_rate"}
    assert set(_evaluate(external, model_type="wolves", first=True)) == {"finite"}


def test_a_users_own_model_type_has_the_guards_that_every_model_has():
    found = _evaluate(_measured(entropy_bits=0.0), GuardSettings(min_entropy_bits=2.0), model_type="my_net")
    assert set(found) == {"finite", "onnx_difference", "latency_ms_batch_1", "latency_ms_batch_128", "win_rate"}


def test_every_model_type_has_its_row():
    assert sorted(guards.APPLICABLE) == sorted(MODEL_TYPES)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_guard_whose_quantity_does_not_exist_is_not_applicable(model_type):
    strict = GuardSettings(min_reward=0.0, min_entropy_bits=2.0, min_explained_variance=0.8)
    found = _evaluate(RESULT, strict, model_type=model_type)
    assert set(found) <= guards.applicable(model_type, has_model=True)
    assert ("accuracy" in found) == (model_type in ("threat_assessment", "pattern_recognition"))
    assert ("entropy_bits" in found) == (
        model_type not in ("threat_assessment", "pattern_recognition", "soft_actor_critic")
    )
    assert ("explained_variance" in found) == (model_type == "movement_ppo")


def test_the_release_preset_asks_for_what_the_requirements_list():
    release = GuardSettings(**GUARD_PRESETS["release"])
    measured = {"reward": 101.0, "entropy_bits": 2.1, "explained_variance": 0.81, "latency_ms_batch_128": 14.0}
    good = replace(DUEL, measured_candidate=Tally(71, 0, 29))
    found = _evaluate(_measured(**measured), release, "movement_ppo", good)
    assert all(guard.passed for guard in found.values())
    bounds = {name: guard.bound for name, guard in found.items()}
    assert (bounds["win_rate"], bounds["reward"], bounds["entropy_bits"]) == (0.7, 100.0, 2.0)
    assert (bounds["explained_variance"], bounds["latency_ms_batch_128"]) == (0.8, 15.0)
    for name, worse in {"reward": 99.0, "entropy_bits": 1.9, "explained_variance": 0.7}.items():
        assert not _evaluate(_measured(**{**measured, name: worse}), release, "movement_ppo", good)[name].passed


def test_a_trial_that_did_not_complete_has_nothing_to_guard():
    assert _evaluate(TrialResult(7, Status.FAILED, Reason.CRASHED)) == {}
