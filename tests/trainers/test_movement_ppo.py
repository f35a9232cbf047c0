"""movement_ppo: its training in the arena, its file, its games."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from supervisor.contract import Interface, Params
from tests.support.arena_trials import default_params
from tests.support.learner_conformance import end_of
from tests.support.target_conformance import TargetConformance
from trainers.algorithms.ppo import Args, Ppo
from trainers.arena.arena import Arena
from trainers.arena_target import ArenaTarget
from trainers.evaluate import OnnxSession
from trainers.export import interface, onnx_bytes
from trainers.learner import Case, Floats
from trainers.models import movement_ppo
from trainers.models.movement_ppo import FIGHTS, MovementPpo
from trainers.parameters import fields, group
from trainers.single import single_spec
from trainers.target import Control

SMALL: Params = {**default_params("aggressive/movement_ppo"), "ppo.hidden": "16", "ppo.head": "8", "ppo.horizon": 4}


def args_of(params: Params) -> Args:
    rewards = group(params, "reward")
    return fields(Args, MovementPpo.names, {name: params[name] for name in params if name not in rewards})


def learner() -> Ppo:
    return MovementPpo().learner(Case("aggressive", 1, group(SMALL, "reward")), args_of(SMALL), 8 * FIGHTS, 1, None)


class TestTarget(TargetConformance):
    params = SMALL

    def open_target(self, folder: Path, control: Control) -> ArenaTarget:
        return ArenaTarget(single_spec("aggressive/movement_ppo", 1, SMALL, 8 * FIGHTS, 7), folder, control)


def test_its_file_takes_the_state_and_gives_the_directions_and_the_value() -> None:
    training = learner()
    expected = Interface({"state": (0, 64)}, {"direction_logits": (0, 9), "value": (0, 1)})
    assert interface(training.exported()) == expected


class Foreseeing:
    """A model that answers as it is told, tick by tick."""

    def __init__(self, values: list[Floats] | None = None) -> None:
        self.values, self.ticks = values, 0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"state": (64,)}

    def run(self, inputs: dict[str, Floats]) -> dict[str, Floats]:
        rows = len(inputs["state"])
        value = np.zeros(rows, np.float32) if self.values is None else self.values[self.ticks]
        self.ticks += 1
        return {"direction_logits": np.zeros((rows, 9), np.float32), "value": value[:, None]}


def test_explained_variance_is_measured_against_the_returns_that_the_fights_brought() -> None:
    case = Case("aggressive", 3, {})
    arena = movement_ppo._arena(8, case, {}, 5, reopen=False)
    rewards = []
    while arena.active.any():
        rewards.append(arena.step(np.zeros(8, np.int64)).reward)
    returns = [np.zeros(8)]
    for reward in reversed(rewards):
        returns.append(reward + 0.99 * returns[-1])
    perfect = [value.astype(np.float32) for value in returns[:0:-1]]
    fights = lambda: movement_ppo._arena(8, case, {}, 5, reopen=False)  # noqa: E731
    assert movement_ppo._foreseen(Foreseeing(perfect), fights()) == pytest.approx(1.0, abs=1e-5)
    assert movement_ppo._foreseen(Foreseeing(), fights()) == pytest.approx(0.0, abs=1e-5)


def test_a_rehearsal_says_how_the_file_steps_and_what_its_critic_foresees() -> None:
    training = learner()
    session = OnnxSession(onnx_bytes(training.exported()))
    rehearsal = MovementPpo().rehearse(Case("aggressive", 1, {}), session, 10**6)
    assert set(rehearsal.measured) == {"entropy_bits", "reward", "explained_variance"}
    assert rehearsal.inputs["state"].shape[0] >= 128
    assert 0 <= rehearsal.measured["entropy_bits"] <= np.log2(9)


def test_in_seconds_it_learns_to_stand_and_cast() -> None:
    """A mage that walks at random casts once in nine ticks and wins nothing."""
    arena = Arena(64, "mage", 1, control="direction", strength=0.6)
    arena.start(np.arange(64))
    params = {**SMALL, "ppo.hidden": "32", "ppo.horizon": 16, "ppo.batch_size": 256, "training.learning_rate": 3e-3}
    training = Ppo(args_of(params), arena, 16 * 16 * 64, 1, 64, 9)
    end_of(training)
    assert training.metrics()["train_score"] > 0.7
    assert training.metrics()["train_explained_variance"] > 0.5
