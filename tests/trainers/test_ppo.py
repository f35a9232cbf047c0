"""The algorithm by itself: advantages, the clipped objective, rollouts and their minibatches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from tests.support.learner_conformance import LearnerConformance, end_of
from trainers.algorithms.environment import Cut
from trainers.algorithms.ppo import Args, Ppo, Rollout, _drawn

ARGS = Args(
    learning_rate=3e-3,
    learning_rate_end=0.1,
    weight_decay=0.0,
    gradient_clip=0.5,
    gae_lambda=0.95,
    clip=0.2,
    value_coefficient=0.5,
    entropy_coefficient=0.01,
    horizon=8,
    epochs=3,
    batch_size=64,
    accumulation=1,
    patience=0,
    hidden="16",
    head="16",
    gamma=0.8,
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

    With discount g the places are worth g^2, g and 1 to one who goes on. A `clock` cuts episodes short.
    """

    places = 3
    rows = 32

    def __init__(self, clock: bool = False) -> None:
        self.at = np.arange(self.rows, dtype=np.int64) % self.places
        self.clock = clock

    @property
    def observation(self) -> NDArray[np.float32]:
        return np.eye(self.places, dtype=np.float32)[self.at]

    def step(self, actions: NDArray[np.int64]) -> Move:
        if self.clock:  # nothing ends, a step is worth 1, and every step is the last that is seen
            everyone = np.arange(self.rows)
            cut = Cut(everyone, self.observation)
            ones = np.ones(self.rows, np.float32)
            return Move(self.observation, ones, ones > 0, ones, cut)
        last = self.at == self.places - 1
        reward = np.where(actions == 0, 0.1, np.where(last, 1.0, 0.0)).astype(np.float32)
        done = (actions == 0) | last
        self.at = np.where(done, 0, self.at + 1)
        return Move(self.observation, reward, done, (reward == 1.0).astype(np.float32))

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        return {"at": self.at.copy()}

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        self.at = saved["at"].astype(np.int64)


def learner(args: Args = ARGS, rollouts: int = 40, seed: int = 1, clock: bool = False, **changes) -> Ppo:
    return Ppo(args, Corridor(clock), rollouts * args.horizon * Corridor.rows, seed, 3, 2, **changes)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # it is off

    def make_learner(self, seed: int) -> Ppo:
        return learner(replace(ARGS, epochs=2, accumulation=2), rollouts=3, seed=seed)


def test_it_learns_to_go_on_and_what_that_is_worth() -> None:
    trained = learner(replace(ARGS, learning_rate=1e-2, batch_size=128), rollouts=25)
    end_of(trained)
    with torch.no_grad():
        logits, value = trained.network(torch.eye(3))
    assert logits.argmax(1).tolist() == [1, 1, 1]
    assert value[:, 0].tolist() == pytest.approx([0.64, 0.8, 1.0], abs=0.12)
    assert trained.metrics()["train_score"] > 0.8
    assert trained.metrics()["train_explained_variance"] > 0.5


def test_what_is_beyond_a_cut_counts_by_the_value_of_the_state_where_it_was_cut() -> None:
    """A step that is worth 1 for ever is worth 1 / (1 - gamma), however short the episodes are cut."""
    args = replace(ARGS, gae_lambda=0.0, gradient_clip=10.0, learning_rate=5e-2, value_coefficient=1.0, horizon=2)
    trained = learner(args, rollouts=50, clock=True)
    end_of(trained)
    with torch.no_grad():
        assert trained.network(torch.eye(3))[1].mean() == pytest.approx(5.0, abs=0.7)


def rollout(r: list[float], V: list[float], alive: list[float]) -> Rollout:
    found = Rollout(len(r), 1, 1)
    for mine, given_values in ((found.r, r), (found.V, V), (found.alive, alive)):
        mine[:, 0] = torch.tensor(given_values)
    return found


def test_advantages_sum_the_errors_of_one_step_discounted_and_stop_where_the_episode_ends() -> None:
    found = rollout(r=[1.0, 2.0, 3.0], V=[0.5, 1.0, 1.5, 2.0], alive=[1.0, 0.0, 1.0])
    found.weigh(3, gamma=0.9, gae_lambda=0.5)
    second = 2.0 - 1.0
    assert found.A[:, 0].tolist() == pytest.approx(
        [1.0 + 0.9 * 1.0 - 0.5 + 0.9 * 0.5 * second, second, 3.0 + 0.9 * 2.0 - 1.5]
    )
    assert torch.allclose(found.R[:, 0], found.A[:, 0] + torch.tensor([0.5, 1.0, 1.5]))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32), st.booleans()), min_size=1, max_size=9)
)
def test_with_lambda_one_returns_are_those_of_the_episode_whatever_the_critic_says(steps: list) -> None:
    r, V, alive = zip(*[(a, b, float(c)) for a, b, c in steps], strict=True)
    found = rollout(list(r), [*V, 0.7], list(alive))
    found.weigh(len(r), gamma=0.9, gae_lambda=1.0)
    expected, following = [], 0.7
    for reward, goes_on in zip(reversed(r), reversed(alive), strict=True):
        following = reward + 0.9 * goes_on * following
        expected.append(following)
    assert found.R[:, 0].tolist() == pytest.approx(expected[::-1], abs=1e-4)


def test_explained_variance_is_one_for_a_critic_that_foresees_all_and_zero_for_a_constant() -> None:
    found = rollout(r=[1.0, 2.0, 4.0], V=[0.0, 0.0, 0.0, 0.0], alive=[0.0, 0.0, 0.0])
    found.weigh(3, 0.9, 1.0)
    assert found.explained_variance(3) == pytest.approx(0.0)
    found.V[:3, 0] = found.R[:, 0]
    assert found.explained_variance(3) == pytest.approx(1.0)
    found.R[:] = 2.0
    assert found.explained_variance(3) == 0.0


def surrogate_gradient(move: float, A: float) -> float:
    """Of the objective by the logit of the action taken, once its log probability has moved by `move`."""
    training = learner(replace(ARGS, value_coefficient=0.0, entropy_coefficient=0.0))
    training.rollout.s[0, 0] = torch.tensor([1.0, 0.0, 0.0])
    training.rollout.a[0, 0] = 1
    with torch.no_grad():
        log_p = torch.log_softmax(training.network(training.rollout.s[0, :1])[0], 1)
    training.rollout.log_p[0, 0] = log_p[0, 1] - move
    training._loss(torch.tensor([0]), torch.tensor([A]), []).backward()
    return float(training.network.logits.bias.grad[1])


@pytest.mark.parametrize(
    ("move", "A", "pushed"),
    [(0.0, 1.0, True), (0.5, 1.0, False), (-0.5, 1.0, True), (0.0, -1.0, True), (-0.5, -1.0, False), (0.5, -1.0, True)],
)
def test_a_probability_is_pushed_on_only_until_the_clip(move: float, A: float, pushed: bool) -> None:
    gradient = surrogate_gradient(move, A)
    assert (gradient != 0) == pushed
    if pushed:
        assert np.sign(gradient) == -np.sign(A)


def test_choices_are_drawn_by_their_probabilities() -> None:
    p = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).repeat(10_000, 1)
    u = torch.from_numpy(np.random.default_rng(0).random(10_000, np.float32))
    share = torch.bincount(_drawn(p.log(), u), minlength=4) / 10_000
    assert share.tolist() == pytest.approx([0.5, 0.0, 0.3, 0.2], abs=0.02)
    assert _drawn(p[:1].log(), torch.tensor([1.0])).item() == 3


def test_micro_batches_give_the_step_of_the_whole_minibatch() -> None:
    whole, parts = learner(rollouts=1), learner(replace(ARGS, accumulation=4), rollouts=1)
    for training in (whole, parts):
        end_of(training)
    for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5)


def test_every_transition_is_learnt_from_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    training, seen = learner(rollouts=1), []
    monkeypatch.setattr(training, "_improve", lambda index: seen.append(index.numpy().copy()))
    end_of(training)
    per_epoch = ARGS.horizon * Corridor.rows
    indices = np.concatenate(seen).reshape(ARGS.epochs, per_epoch)
    assert (np.sort(indices, axis=1) == np.arange(per_epoch)).all()
    assert (indices[0] != indices[1]).any()


def test_a_budget_that_does_not_fill_the_last_rollout_is_used_to_its_end() -> None:
    training = Ppo(ARGS, Corridor(), 11 * Corridor.rows + 5, 1, 3, 2)
    end_of(training)
    assert training.t == 11
    assert Ppo(ARGS, Corridor(), 5, 1, 3, 2).last_t == 1


def test_without_progress_patience_ends_it_after_a_rollout() -> None:
    training = learner(replace(ARGS, patience=2, learning_rate=0.0), rollouts=50)
    end_of(training)
    assert training.t < 50 * ARGS.horizon
    assert training.t % ARGS.horizon == 0


def test_a_warm_start_takes_over_what_fits() -> None:
    first = learner(rollouts=2)
    end_of(first)
    warm = learner(start=first.final())
    assert warm.metrics()["warm_start"] == 1.0
    assert torch.equal(warm.network.logits.weight, first.network.logits.weight)
    wider = learner(replace(ARGS, head="24"), start=first.final())
    assert wider.metrics()["warm_start"] == 0.0
    assert torch.equal(wider.network.shared.layers[0].weight, first.network.shared.layers[0].weight)


def test_a_loss_that_blows_up_ends_the_training_with_its_reason() -> None:
    training = learner()
    with torch.no_grad():
        training.network.value.weight.fill_(float("nan"))
    with pytest.raises(TrialError) as caught:
        end_of(training)
    assert caught.value.reason == Reason.DIVERGED


def test_values_that_no_training_can_start_with_are_named_together() -> None:
    with pytest.raises(TrialError, match=r"horizon must be at least 1; hidden must be widths .*, not 'x'"):
        replace(ARGS, horizon=0, hidden="x")
    with pytest.raises(TrialError, match="clip must be above 0"):
        replace(ARGS, clip=0.0)
