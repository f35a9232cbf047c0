"""soft_actor_critic: its training in the arena, its file, its games."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from supervisor.contract import Interface, Params
from tests.support.arena_trials import default_params
from tests.support.target_conformance import TargetConformance
from trainers.algorithms.sac import Args, Sac
from trainers.arena_target import ArenaTarget
from trainers.evaluate import OnnxSession
from trainers.export import interface, onnx_bytes
from trainers.learner import Case, Floats
from trainers.models.soft_actor_critic import FIGHTS, SoftActorCritic, _Policy
from trainers.parameters import fields, group
from trainers.single import single_spec
from trainers.target import Control

SMALL: Params = {
    **default_params("mage/soft_actor_critic"),
    "sac.hidden": "16",
    "sac.updates": 1,
    "sac.batch_size": 32,
    "sac.learning_starts": 4,
    "sac.replay_rows": 16,
}


def args_of(params: Params) -> Args:
    rewards = group(params, "reward")
    return fields(Args, SoftActorCritic.names, {name: params[name] for name in params if name not in rewards})


def learner() -> Sac:
    return SoftActorCritic().learner(Case("mage", 1, group(SMALL, "reward")), args_of(SMALL), 8 * FIGHTS, 1, None)


class TestTarget(TargetConformance):
    params = SMALL

    def open_target(self, folder: Path, control: Control) -> ArenaTarget:
        return ArenaTarget(single_spec("mage/soft_actor_critic", 1, SMALL, 8 * FIGHTS, 7), folder, control)


def test_its_file_takes_the_state_and_gives_four_numbers_within_their_bounds() -> None:
    training = learner()
    assert interface(training.exported()) == Interface({"state": (0, 64)}, {"action": (0, 4)})
    rehearsal = SoftActorCritic().rehearse(
        Case("mage", 1, {}), OnnxSession(onnx_bytes(training.exported())), first_seed=10**6
    )
    assert set(rehearsal.measured) == {"entropy_bits", "reward"}
    assert 0 <= rehearsal.measured["entropy_bits"] <= 4


def test_what_a_runtime_rounds_beyond_the_bounds_is_within_them_in_play() -> None:
    class Rounding:
        shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012

        def run(self, inputs: dict[str, Floats]) -> dict[str, Floats]:
            return {"action": np.full((len(inputs["state"]), 4), 1.0000001, np.float32)}

    action = _Policy(Rounding())(np.zeros((2, 64), np.float32))
    assert action.dtype == np.float32
    assert action.max() == 1
