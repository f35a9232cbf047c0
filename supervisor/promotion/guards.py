"""What a winner must hold besides winning. A guard whose quantity should be there and was not measured does not hold.

A table says which quantities exist for which model type; the others are not applicable and make no guard. The first
incumbent of a target needs the technical guards only: it need not be good, it must work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from supervisor.config.settings import GuardSettings
from supervisor.contract import DuelResult, Guard, Status, TrialResult

# Quantities that a trial measures, by their names in TrialResult.measured
ONNX_DIFFERENCE = "onnx_difference"  # largest absolute difference to the trained network's outputs, FP32
ONNX_DIFFERENCE_FP16 = "onnx_difference_fp16"  # the same of an FP16 export, only where there is one
EQUAL_ACTIONS_FP16 = "equal_actions_fp16"  # share of states on which an FP16 export chooses the same action
LATENCIES_MS = ("latency_ms_batch_1", "latency_ms_batch_128")  # P95 on the serving device
INCUMBENT_PREFIX = "incumbent_"  # + a latency's name: the incumbent's, measured in the same trial
ACCURACY = "accuracy"
REWARD = "reward"  # mean of a game
ENTROPY_BITS = "entropy_bits"  # of the actions' frequencies over the evaluation states
EXPLAINED_VARIANCE = "explained_variance"

# Guards' names
WIN_RATE = "win_rate"
FINITE = "finite"  # value: how many quantities were not; in TrialResult.measured: 1 if all outputs were

FP16_DIFFERENCE = 1e-2
FP16_EQUAL_ACTIONS = 0.995
LATENCY_GROWTH = 1.5  # a winner may be slower than the limit, if the incumbent is as well

_MODEL = frozenset({FINITE, ONNX_DIFFERENCE, ONNX_DIFFERENCE_FP16, *LATENCIES_MS})
_CHOOSES = _MODEL | {WIN_RATE, REWARD, ENTROPY_BITS, EQUAL_ACTIONS_FP16}  # an agent with discrete actions
_PREDICTS = _MODEL | {WIN_RATE, ACCURACY}  # judges situations; its win rate is that of the player it advises

APPLICABLE: Mapping[str, frozenset[str]] = {
    "combat_dqn": _CHOOSES,
    "skill_dqn": _CHOOSES,
    "movement_ppo": _CHOOSES | {EXPLAINED_VARIANCE},
    "team_coordination": _CHOOSES,  # its critic stays in training, so the file foresees nothing
    "spatial_vit": _CHOOSES,
    "temporal_transformer": _CHOOSES,
    "soft_actor_critic": _MODEL | {WIN_RATE, REWARD},  # continuous: no action has a frequency
    "threat_assessment": _PREDICTS,
    "pattern_recognition": _PREDICTS,
}
OWN_MODEL = _MODEL | {WIN_RATE}  # a model type of the user's
EXTERNAL = frozenset({FINITE, WIN_RATE})  # a configuration, no model


def applicable(model_type: str, has_model: bool) -> frozenset[str]:
    """Names of the guards whose quantity exists; all others are not applicable."""
    return APPLICABLE.get(model_type, OWN_MODEL) if has_model else EXTERNAL


def evaluate(
    settings: GuardSettings, model_type: str, result: TrialResult, duel: DuelResult | None, first: bool
) -> dict[str, Guard]:
    """Every guard that applies to a finished trial's candidate, by name. `first`: there is no incumbent yet.

    The win rate is that of the fresh measuring games where they were played; the screen's flatters those it let pass.
    """
    if result.status is not Status.COMPLETE:
        return {}
    names = applicable(model_type, has_model=result.interface is not None)
    found = dict(_technical(settings, result))
    if not first:
        found |= _quality(settings, result, duel)
    return {name: guard for name, guard in sorted(found.items()) if name in names}


def _technical(settings: GuardSettings, result: TrialResult) -> Iterator[tuple[str, Guard]]:
    measured = result.measured
    broken = sum(not math.isfinite(value) for value in measured.values()) + (measured.get(FINITE, 1.0) != 1.0)
    yield FINITE, Guard(value=float(broken), bound=0.0, passed=broken == 0)
    yield ONNX_DIFFERENCE, _at_most(measured.get(ONNX_DIFFERENCE), settings.max_onnx_difference)
    if ONNX_DIFFERENCE_FP16 in measured:
        yield ONNX_DIFFERENCE_FP16, _at_most(measured[ONNX_DIFFERENCE_FP16], FP16_DIFFERENCE)
        yield EQUAL_ACTIONS_FP16, _at_least(measured.get(EQUAL_ACTIONS_FP16), FP16_EQUAL_ACTIONS)
    if settings.max_latency_ms is not None:
        for name in LATENCIES_MS:
            incumbent_ms = measured.get(INCUMBENT_PREFIX + name, 0.0)
            bound_ms = max(settings.max_latency_ms, LATENCY_GROWTH * incumbent_ms)
            yield name, _at_most(measured.get(name), bound_ms)


def _quality(settings: GuardSettings, result: TrialResult, duel: DuelResult | None) -> dict[str, Guard]:
    fresh = duel.measured_candidate.rate if duel is not None else None
    values = {
        WIN_RATE: (fresh if fresh is not None else result.candidate.rate, settings.min_win_rate),
        ACCURACY: (result.measured.get(ACCURACY), settings.min_accuracy),
        REWARD: (result.measured.get(REWARD), settings.min_reward),
        ENTROPY_BITS: (result.measured.get(ENTROPY_BITS), settings.min_entropy_bits),
        EXPLAINED_VARIANCE: (result.measured.get(EXPLAINED_VARIANCE), settings.min_explained_variance),
    }
    return {name: _at_least(value, bound) for name, (value, bound) in values.items() if bound is not None}


def _at_most(value: float | None, bound: float) -> Guard:
    return Guard(_finite(value), bound, passed=value is not None and value <= bound)  # NaN is in no range


def _at_least(value: float | None, bound: float) -> Guard:
    return Guard(_finite(value), bound, passed=value is not None and math.isfinite(value) and value >= bound)


def _finite(value: float | None) -> float | None:
    """What a log line can hold: JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None
