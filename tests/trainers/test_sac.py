"""The algorithm by itself: its critics, its temperature, its memory, and a task that it learns in a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from tests.support.learner_conformance import LearnerConformance, end_of
from trainers.algorithms.environment import Cut
from trainers.algorithms.memory import Memory
from trainers.algorithms.sac import Args, Sac, Temperature
from trainers.networks.gaussian import GaussianActor, TwinCritics

ARGS = Args(
    learning_rate=3e-3,
    learning_rate_end=0.1,
    weight_decay=0.0,
    gradient_clip=10.0,
    gamma=0.5,
    tau=0.05,
    temperature=0.1,
    target_entropy=-1.0,
    reward_scale=1.0,
    batch_size=64,
    accumulation=1,
    updates=2,
    replay_rows=64,
    learning_starts=4,
    patience=0,
    hidden="32",
)


@dataclass(frozen=True)
class Move:
    observation: NDArray[np.float32]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    score: NDArray[np.float32]
    cut: Cut | None = None


class Darts:
    """One throw per episode at the place that is seen: the nearer the first number of the action, the better."""

    rows = 32

    def __init__(self) -> None:
        self.throw = np.zeros(1, np.int64)

    @property
    def observation(self) -> NDArray[np.float32]:
        rng = np.random.Generator(np.random.Philox(key=5, counter=int(self.throw[0]) << 128))
        return (rng.random((self.rows, 1), np.float32) - np.float32(0.5)) * np.float32(1.2)

    def step(self, actions: NDArray[np.float32]) -> Move:
        missed = np.abs(actions[:, 0] - self.observation[:, 0])
        self.throw += 1
        done = np.ones(self.rows, np.bool_)
        return Move(self.observation, -missed, done, (missed < 0.1).astype(np.float32))

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        return {"throw": self.throw.copy()}

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        self.throw = saved["throw"].astype(np.int64)


def learner(args: Args = ARGS, throws: int = 60, seed: int = 1, **changes) -> Sac:
    return Sac(args, Darts(), throws * Darts.rows, seed, 1, 2, **changes)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # it is off

    def make_learner(self, seed: int) -> Sac:
        return learner(replace(ARGS, updates=1, accumulation=2), throws=14, seed=seed)


def test_it_learns_to_throw_at_what_it_sees() -> None:
    trained = learner(replace(ARGS, learning_rate=1e-2), throws=110)
    end_of(trained)
    seen = torch.linspace(-0.5, 0.5, 11)[:, None]
    with torch.no_grad():
        missed = (trained.actor(seen)[:, 0] - seen[:, 0]).abs()
    assert missed.mean() < 0.1
    assert trained.metrics()["train_reward"] > -0.4


def test_the_critics_learn_what_a_state_is_worth_beyond_a_cut() -> None:
    """Where every episode is cut after one step that is worth 1, a state is worth 1 / (1 - gamma) and its entropy."""

    class Clock(Darts):
        def step(self, actions: NDArray[np.float32]) -> Move:
            everyone, ones = np.arange(self.rows), np.ones(self.rows, np.float32)
            return Move(self.observation, ones, ones > 0, ones, Cut(everyone, self.observation))

    args = replace(ARGS, learning_rate=1e-2, tau=0.2, temperature=1e-6, updates=4)
    trained = Sac(args, Clock(), 40 * Clock.rows, 1, 1, 2)
    end_of(trained)
    assert trained.metrics()["train_q_value"] == pytest.approx(2.0, abs=0.3)


def test_the_value_that_the_critics_follow_is_the_smaller_of_the_twins() -> None:
    training = learner(replace(ARGS, reward_scale=3.0, temperature=1e-9, learning_rate=1e-9))
    for _ in range(4):
        training.advance()
    batch = training.memory.draw(np.arange(64))
    batch.r[:], batch.alive[:] = 0.25, 1.0
    with torch.no_grad():
        for bias in training.target.biases:
            bias.zero_()
        for weight in [*training.target.weights, *training.critics.weights]:
            weight.zero_()
        for bias in training.critics.biases:
            bias.zero_()
        training.target.biases[-1][:, 0, 0] = torch.tensor([5.0, 2.0])
    loss, _ = training._improve_critics(batch, 0.0, 0.0)
    y = 3.0 * 0.25 + 0.5 * 2.0
    assert loss == pytest.approx(2 * 0.5 * y * y, rel=1e-4)


def test_the_actors_step_leaves_the_critics_as_they_are() -> None:
    training = learner()
    for _ in range(4):
        training.advance()
    critics = [p.detach().clone() for p in training.critics.parameters()]
    actor = next(iter(training.actor.parameters())).clone()
    training._improve_actor(training.memory.draw(np.arange(64)).s, 0.1, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(critics, training.critics.parameters(), strict=True))
    assert not torch.equal(actor, next(iter(training.actor.parameters())))
    assert all(p.requires_grad for p in training.critics.parameters())


def test_the_target_critics_follow_by_their_share() -> None:
    training = learner(replace(ARGS, updates=1, tau=0.25))
    for _ in range(3):
        training.advance()
    before = [p.detach().clone() for p in training.target.parameters()]
    training.advance()
    expected = [old + 0.25 * (new - old) for old, new in zip(before, training.critics.parameters(), strict=True)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(expected, training.target.parameters(), strict=True))


@settings(max_examples=25, deadline=None)
@given(st.floats(-4, 4), st.floats(1e-5, 1e-2))
@example(1e-8, 1e-2)
def test_the_temperature_falls_where_there_is_too_much_entropy_and_rises_where_there_is_too_little(
    surplus: float, learning_rate: float
) -> None:
    temperature = Temperature(math.log(0.1))
    for _ in range(3):
        temperature.follow(surplus, learning_rate)
    expected = -3 * learning_rate * surplus / (abs(surplus) + 1e-8)  # Adam's steps where all gradients are one
    assert temperature.log_alpha - math.log(0.1) == pytest.approx(expected, abs=learning_rate * 1e-6)


def test_entropy_is_steered_to_its_target() -> None:
    trained = learner(replace(ARGS, learning_rate=2e-2, target_entropy=0.3), throws=90)
    end_of(trained)
    assert trained.metrics()["train_entropy"] == pytest.approx(2 * 0.3, abs=0.4)


def test_log_densities_are_those_of_the_squashed_gaussian() -> None:
    """Integrated over the actions, the density is one."""
    torch.manual_seed(0)
    actor = GaussianActor(1, (8,), 1)
    noise = torch.linspace(-6, 6, 4001)[:, None]
    with torch.no_grad():
        a, log_p = actor.sample(torch.zeros(len(noise), 1), noise)
    assert torch.trapezoid(log_p.exp(), a[:, 0]).item() == pytest.approx(1.0, abs=1e-3)
    with torch.no_grad():
        _, far = actor.sample(torch.zeros(2, 1), torch.tensor([[40.0], [-40.0]]))
    assert torch.isfinite(far).all()


def test_the_stacked_critics_are_two_networks() -> None:
    torch.manual_seed(0)
    critics = TwinCritics(5, (16, 16))
    s, a = torch.rand(7, 3), torch.rand(7, 2)
    for twin in range(2):
        x = torch.cat([s, a], 1)
        for layer, (weight, bias) in enumerate(zip(critics.weights, critics.biases, strict=True)):
            x = x @ weight[twin] + bias[twin]
            x = torch.relu(x) if layer < 2 else x
        assert torch.allclose(critics(s, a)[twin], x[:, 0], atol=1e-6)
    assert not torch.equal(critics.weights[0][0], critics.weights[0][1])


def test_the_memory_keeps_the_newest_steps_and_the_state_of_a_cut() -> None:
    memory = Memory(rows=2, episodes=2, inputs=1, outputs=1, batch=4)
    for number in range(3):
        state = np.full((2, 1), number, np.float32)
        following = np.full((2, 1), number + 1, np.float32)
        done = np.array([True, number == 2])
        cut = Cut(np.array([1]), np.array([[9.0]], np.float32)) if number == 2 else None
        reward = np.full(2, number, np.float32)
        memory.add(state, torch.full((2, 1), float(number)), Move(following, reward, done, reward, cut))
    batch = memory.draw(np.arange(4))
    assert memory.size == 4
    assert batch.r.tolist() == [2.0, 2.0, 1.0, 1.0]
    assert batch.alive.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert batch.s_next[:, 0].tolist() == [3.0, 9.0, 2.0, 2.0]


def test_a_warm_start_takes_over_what_fits_and_does_not_act_at_random() -> None:
    first = learner(throws=10)
    end_of(first)
    warm = learner(start=first.final())
    assert warm.metrics()["warm_start"] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(warm.target.parameters(), first.target.parameters(), strict=True))
    assert learner(replace(ARGS, hidden="48"), start=first.final()).metrics()["warm_start"] == 0.0


def test_without_progress_patience_ends_it() -> None:
    training = learner(replace(ARGS, patience=3, learning_rate=1e-9), throws=400)
    end_of(training)
    assert training.t < 400


def test_a_loss_that_blows_up_ends_the_training_with_its_reason() -> None:
    training = learner()
    with torch.no_grad():
        training.critics.weights[0].fill_(float("inf"))
    with pytest.raises(TrialError) as caught:
        end_of(training)
    assert caught.value.reason == Reason.DIVERGED


def test_values_that_no_training_can_start_with_are_named_together() -> None:
    with pytest.raises(TrialError, match="updates must be at least 1; tau must be above 0; hidden must be widths"):
        replace(ARGS, updates=0, tau=0.0, hidden="x")
