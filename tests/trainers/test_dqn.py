from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from tests.support.learner_conformance import LearnerConformance
from trainers.algorithms.dqn import DoubleDQN
from trainers.algorithms.dqn_args import Args
from trainers.algorithms.environment import Cut
from trainers.algorithms.replay import PRIORITY_FLOOR
from trainers.algorithms.stacked_updates import Pace
from trainers.learner import Learner

ARGS = Args(
    learning_rate=3e-3,
    learning_rate_end=0.1,
    weight_decay=0.0,
    gradient_clip=10.0,
    gamma=0.8,
    n_step=1,
    batch_size=64,
    accumulation=1,
    amp=False,
    updates=4,
    target_interval=20,
    replay_rows=64,
    learning_starts=4,
    priority_alpha=0.6,
    priority_beta=0.4,
    exploration_noise=0.2,
    exploration_fraction=0.5,
    double=True,
    dueling=False,
    hidden="32,32",
    dropout=0.0,
    patience=0,
)


@dataclass(frozen=True)
class Move:
    observation: NDArray[np.float32]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    score: NDArray[np.float32]
    cut: Cut | None = None


class Corridor:
    """Three places in a row; action 1 goes on, action 0 ends it with 0.1. Leaving the last one is worth 1.

    With discount g the values of going on are g^2, g and 1.
    """

    places = 3
    rows = 32

    def __init__(self, endless: bool = False) -> None:
        self.at = np.zeros(self.rows, np.int64)
        self.endless = endless  # nothing is ever earned and nothing ends

    @property
    def observation(self) -> NDArray[np.float32]:
        return np.eye(self.places, dtype=np.float32)[self.at]

    def step(self, actions: NDArray[np.int64]) -> Move:
        last = self.at == self.places - 1
        if self.endless:
            return Move(self.observation, *np.zeros((1, self.rows), np.float32), last & False, last.astype(np.float32))
        reward = np.where(actions == 0, 0.1, np.where(last, 1.0, 0.0)).astype(np.float32)
        done = (actions == 0) | last
        self.at = np.where(done, 0, self.at + 1)
        return Move(self.observation, reward, done, (reward == 1.0).astype(np.float32))

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        return {"at": self.at.copy()}

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        self.at = saved["at"].astype(np.int64)


def learner(args: Args = ARGS, rows: int = 300, environment: Corridor | None = None, **changes) -> DoubleDQN:
    fights = environment or Corridor()
    return DoubleDQN(args, fights, rows * fights.rows, seed=1, inputs=3, outputs=2, **changes)


def run(training: DoubleDQN) -> DoubleDQN:
    while not training.finished:
        training.advance()
    return training


def values(training: DoubleDQN) -> NDArray[np.float32]:
    with torch.no_grad():
        return training.q(torch.eye(3)).numpy()


@pytest.mark.parametrize(("double", "dueling"), [(True, False), (False, True)])
def test_it_learns_the_values_of_a_corridor(double: bool, dueling: bool) -> None:
    trained = run(learner(replace(ARGS, double=double, dueling=dueling), rows=150))
    expected = np.array([[0.1, 0.64], [0.1, 0.8], [0.1, 1.0]])
    assert np.abs(values(trained) - expected).max() < 0.05
    assert trained.means.td_error < 0.05


def test_with_n_steps_it_learns_what_its_own_play_earns() -> None:
    trained = run(learner(replace(ARGS, n_step=3, exploration_noise=0.01, exploration_fraction=0.2), rows=150))
    assert values(trained).argmax(1).tolist() == [1, 1, 1]
    assert values(trained)[0, 1] == pytest.approx(0.64, abs=0.1)


@pytest.mark.parametrize(("n_step", "alpha"), [(1, 0.0), (3, 0.6)])
def test_a_state_is_worth_what_it_would_have_brought_had_no_clock_cut_it_short(n_step: int, alpha: float) -> None:
    """From place 1 to place 0 for nothing, and there 1 for ever, 1 / (1 - 0.8): but the first of those steps is cut."""

    class Clock(Corridor):
        def step(self, actions: NDArray[np.int64]) -> Move:
            late = self.at == 0
            self.at[:] = 0
            cut = Cut(np.flatnonzero(late), self.observation[late]) if late.any() else None
            self.at[late] = 1
            return Move(self.observation, late.astype(np.float32), late, late.astype(np.float32), cut)

    args = replace(ARGS, n_step=n_step, priority_alpha=alpha)
    trained = run(learner(args, rows=150, environment=Clock()))
    assert values(trained)[:2] == pytest.approx(np.array([[5.0, 5.0], [4.0, 4.0]]), abs=0.3)


def with_constant_outputs(double: bool) -> DoubleDQN:
    """q answers (0, 1) everywhere, its target (5, 2); nothing is learnt, earned or ended."""
    args = replace(ARGS, double=double, learning_rate=0.0, gamma=0.9, target_interval=10_000)
    training = learner(args, rows=20, environment=Corridor(endless=True))
    for network, outputs in ((training.q, (0.0, 1.0)), (training.q_target, (5.0, 2.0))):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            network.advantage.bias.copy_(torch.tensor(outputs))
    return training


def test_double_lets_the_online_network_choose_and_the_target_network_value() -> None:
    args_errors = []
    for double in (True, False):
        training = with_constant_outputs(double)
        while training.gradient_steps == 0:
            training.advance()
        q_value = training.means.q_value  # the share of action 1 in the batch
        bootstrap = 0.9 * (2.0 if double else 5.0)
        args_errors.append(training.means.td_error)
        assert training.means.td_error == pytest.approx(bootstrap - q_value, abs=0.25)
    assert args_errors[1] - args_errors[0] == pytest.approx(2.7, abs=0.5)


def test_the_loss_of_each_transition_counts_by_its_weight() -> None:
    losses = []
    for weight in (1.0, 0.25):
        training = with_constant_outputs(double=True)
        draw = training.batch.replay.draw

        def weighted(uniforms, beta, batches, draw=draw, weight=weight):
            return replace(draw(uniforms, beta, batches), weight=np.full(uniforms.shape, weight, np.float32))

        training.batch.replay.draw = weighted  # type: ignore[method-assign]
        while training.gradient_steps == 0:
            training.advance()
        losses.append(training.means.loss)
    assert losses[1] == pytest.approx(0.25 * losses[0])


def test_priorities_follow_the_errors_found() -> None:
    training = run(with_constant_outputs(double=True))
    state = training.replay.state()
    errors = np.where(state["actions"] == 0, 1.8, 0.8)  # |q - 0.9 * 2|
    expected = (errors + PRIORITY_FLOOR) ** ARGS.priority_alpha
    # what was not drawn yet still has the largest priority, what cannot be drawn none: the rest is action 1's
    learnt = (state["priorities"] > 0) & (state["priorities"] < 0.99 * expected.max())
    assert learnt.sum() > 50
    assert state["priorities"][learnt] == pytest.approx(expected[learnt], rel=1e-5)


def test_exploration_falls_from_one_to_its_noise_and_stays() -> None:
    training = learner(rows=100)
    seen = {}
    while not training.finished:
        seen[training.t] = training.epsilon()
        training.advance()
    assert [seen[t] for t in (0, 25, 50, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_a_warm_start_explores_little_from_the_beginning() -> None:
    first = run(learner(rows=20))
    warm = learner(rows=100, start=first.final())
    assert (warm.warm, warm.epsilon()) == (True, pytest.approx(0.1))
    assert values(warm).tobytes() == values(first).tobytes()
    assert all(torch.equal(a, b) for a, b in zip(warm.q_target.parameters(), first.q_target.parameters(), strict=True))


def test_the_learning_rate_falls_to_its_last_share() -> None:
    training = learner(replace(ARGS, learning_rate_end=0.0), rows=50)
    moved = []
    while not training.finished:
        before = training.batch.online.values.clone()
        training.advance()
        moved.append(float((training.batch.online.values - before).abs().max()))
    assert moved[-1] == 0.0 < moved[-2] < moved[10]
    assert Pace(1e-2, 0.1, 0.0, 1.0).rate(0.5) == pytest.approx(5.5e-3)


def test_the_target_network_follows_every_so_many_gradient_steps() -> None:
    training = learner(replace(ARGS, target_interval=5, updates=1))
    before = training.q_target.advantage.weight.clone()
    while training.gradient_steps < 4:
        training.advance()
    assert torch.equal(training.q_target.advantage.weight, before)
    training.advance()
    assert torch.equal(training.q_target.advantage.weight, training.q.advantage.weight)


def test_nothing_is_learnt_before_learning_starts() -> None:
    training = learner(replace(ARGS, learning_starts=10))
    while training.t < 9:
        training.advance()
    assert training.gradient_steps == 0
    training.advance()
    assert training.gradient_steps == ARGS.updates


def test_a_gradient_is_clipped_to_its_norm() -> None:
    gentle, free = learner(replace(ARGS, gradient_clip=1e-9)), learner()
    for training in (gentle, free):
        training.advance()
        while training.gradient_steps == 0:
            training.advance()
    norms = [float(training.batch.optimizer.norms()) for training in (gentle, free)]
    assert norms[0] <= 1.01e-9
    assert norms[1] > 1e-3


def test_the_means_are_those_of_the_fights_that_ended() -> None:
    training = run(learner(replace(ARGS, updates=1), rows=200))
    metrics = training.metrics()
    assert 0.0 < metrics["train_score"] < 1.0
    assert metrics["train_length"] == pytest.approx(2.5, abs=0.5)
    assert metrics["train_reward"] == pytest.approx(
        metrics["train_score"] + 0.1 * (1 - metrics["train_score"]), abs=0.02
    )
    assert metrics["gradient_steps"] == training.gradient_steps == 200 - 3


def test_a_budget_below_one_step_of_all_fights_is_one_step() -> None:
    training = run(DoubleDQN(ARGS, Corridor(), 5, seed=1, inputs=3, outputs=2))
    assert (training.t, training.steps_done) == (1, Corridor.rows)


def test_numbers_that_blow_up_end_it_with_the_last_good_weights() -> None:
    training = learner(replace(ARGS, learning_rate=1e30, gradient_clip=1e30, learning_rate_end=1.0))
    with pytest.raises(TrialError, match="norm of the gradient") as told:
        run(training)
    assert told.value.reason is Reason.DIVERGED
    assert all(torch.isfinite(weight).all() for weight in training.q.state_dict().values())


class TestInACorridor(LearnerConformance):
    """Where fights end, the next action matters and patience can run out."""

    def make_learner(self, seed: int) -> Learner:
        args = replace(ARGS, updates=1, patience=3, dropout=0.1, n_step=2)
        return DoubleDQN(args, Corridor(), 200 * Corridor.rows, seed, 3, 2)
