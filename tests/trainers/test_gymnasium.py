"""Kind `gymnasium`: choices and numbers, saved and gone on with bit for bit, and CartPole solved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from supervisor.contract import Json, Params
from supervisor.errors import TrialError
from supervisor.search.definitions import BUILT_IN, load_definitions
from tests.support.learner_conformance import LearnerConformance
from tests.support.target_conformance import TargetConformance
from trainers.algorithms.defaults import ARGS
from trainers.gymnasium_episodes import Episodes, Worth
from trainers.gymnasium_target import GymnasiumTarget
from trainers.gymnasium_type import GymnasiumType
from trainers.learner import Case, Learner
from trainers.parameters import fields
from trainers.single import Undisturbed, single_spec
from trainers.target import Control

CARTPOLE: Mapping[str, Json] = {"environment": "CartPole-v1", "return_low": 0, "return_high": 500, "rows": 2}
PENDULUM: Mapping[str, Json] = {
    "environment": "Pendulum-v1",
    "return_low": -1600,
    "return_high": 0,
    "algorithm": "sac",
    "rows": 2,
}
SMALL: Mapping[str, Params] = {
    "ppo": {"ppo.horizon": 8, "ppo.epochs": 2, "ppo.batch_size": 8, "ppo.hidden": "8", "ppo.head": "8"},
    "dqn": {"dqn.hidden": "8,8", "dqn.batch_size": 8, "dqn.learning_starts": 6, "dqn.replay_rows": 16},
    "sac": {"sac.hidden": "8,8", "sac.batch_size": 8, "sac.learning_starts": 6, "sac.replay_rows": 16},
}
CASE = Case("gymnasium", 1, {})


class Training(LearnerConformance):
    settings: ClassVar[Mapping[str, Json]]
    idle_parts = frozenset({"patience"})  # which is off

    def make_learner(self, seed: int) -> Learner:
        kind = GymnasiumType(self.settings)
        args = fields(kind.args, kind.names, SMALL[str(self.settings.get("algorithm", "ppo"))])
        return kind.learner(CASE, args, 60, seed, None)


class TestPpo(Training):
    settings = CARTPOLE


class TestDqn(Training):
    settings: ClassVar[Mapping[str, Json]] = {**CARTPOLE, "algorithm": "dqn"}
    idle_parts = frozenset({"patience", "torch_rng"})  # off, and there is no dropout


class TestSac(Training):
    settings = PENDULUM


class TestTarget(TargetConformance):
    params = SMALL["ppo"]

    def open_target(self, folder: Path, control: Control) -> GymnasiumTarget:
        spec = single_spec("gymnasium/cartpole", 1, self.params, 60, 7)
        return GymnasiumTarget(replace(spec, kind="gymnasium", settings=CARTPOLE), folder, control)


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_episodes_that_are_restored_go_on_as_those_that_were_saved(name: str) -> None:
    def opened(seed: int) -> Episodes:
        return Episodes(name, {}, 4, seed, Worth(0, 1))

    def actions(tick: int) -> np.ndarray:
        rng = np.random.default_rng(tick)
        return rng.uniform(-1, 1, (4, 1)).astype(np.float32) if name == "Pendulum-v1" else rng.integers(0, 2, 4)

    first = opened(5)
    for tick in range(70):
        first.step(actions(tick))
    other = opened(100)
    other.step(actions(0))
    other.load_state(first.state())
    for tick in range(70, 140):
        one, two = first.step(actions(tick)), other.step(actions(tick))
        for a, b in ((one.observation, two.observation), (one.reward, two.reward), (one.done, two.done)):
            assert a.tobytes() == b.tobytes()


def test_a_row_begins_its_next_episode_with_the_seed_that_is_its_own() -> None:
    episodes = Episodes("CartPole-v1", {}, 2, 10, Worth(0, 500))
    seeds = []
    for _ in range(60):
        step = episodes.step(np.zeros(2, np.int64))
        if step.done[0]:
            seeds.append(int(episodes.state()["seeds"][0]))
            assert 0 < step.score[0] < 0.05
            assert step.cut is None
    assert seeds[:3] == [12, 14, 16]


def test_an_episode_cut_by_the_clock_is_told_apart_from_one_that_ended() -> None:
    episodes = Episodes("Pendulum-v1", {}, 2, 0, Worth(-1600, 0))
    for tick in range(1, 201):
        before = episodes.observation
        step = episodes.step(np.zeros((2, 1), np.float32))
        assert (step.cut is not None) == (tick == 200)
    assert step.done.all()
    assert step.cut is not None
    assert step.cut.rows.tolist() == [0, 1]
    assert np.abs(step.cut.observation - before).max() < 2
    assert (step.cut.observation != step.observation).any()


def test_numbers_are_spread_over_the_limits_of_the_environment() -> None:
    shape = Episodes("Pendulum-v1", {}, 1, 0, Worth(0, 1)).shape
    assert [float(shape.act(np.array([value], np.float32))[0]) for value in (-1, 0, 1)] == [-2, 0, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"environment": "CartPoll-v1"}, "Gymnasium makes no environment 'CartPoll-v1'"),
        ({"algorithm": "sac"}, "CartPole-v1 is learnt by algorithm ppo or dqn"),
        ({"environment": "Pendulum-v1"}, "Pendulum-v1 is learnt by algorithm sac"),
        ({"algorithm": "a2c"}, "there are ppo, dqn, sac"),
        ({"rows": 3}, "rows 3 is no power of two"),
        ({"return_high": 0}, "return_low must be below return_high"),
        ({"colour": "red"}, "colour"),
        ({"environment": "Blackjack-v1"}, "Box and Discrete are understood"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_the_reason(change: dict[str, Json], said: str) -> None:
    with pytest.raises(TrialError, match=said.replace("(", r"\(")):
        GymnasiumType({**CARTPOLE, **change})


def test_every_parameter_of_the_example_is_one_that_the_algorithm_has() -> None:
    definition = load_definitions([BUILT_IN], ["gymnasium/cartpole"], "small")["gymnasium/cartpole"]
    kind = GymnasiumType(definition.settings)
    assert fields(kind.args, kind.names, definition.defaults()) == ARGS["ppo"]()
    assert definition.contenders == "screened"


@pytest.mark.slow
def test_cartpole_is_solved(tmp_path: Path) -> None:
    definition = load_definitions([BUILT_IN], ["gymnasium/cartpole"], "small")["gymnasium/cartpole"]
    params = definition.defaults()
    spec = single_spec(definition.key, 1, params, definition.steps, 1)
    folder = tmp_path / "trials" / "000001"
    folder.mkdir(parents=True)
    target = GymnasiumTarget(replace(spec, kind="gymnasium", settings=definition.settings), folder, Undisturbed())
    scores = target.candidate(params, target.build(params, folder)).play(10**9, 100)
    assert 500 * sum(scores) / len(scores) >= 475
