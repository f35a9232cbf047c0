"""Recurrent MAPPO, and team_coordination which it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from supervisor.contract import Params
from supervisor.errors import TrialError
from tests.support.arena_trials import default_params
from tests.support.learner_conformance import LearnerConformance, end_of
from tests.support.target_conformance import TargetConformance
from trainers import evaluate
from trainers.algorithms.mappo import Args, Mappo
from trainers.algorithms.pack_rollout import PackRollout, ValueScale
from trainers.arena_target import ArenaTarget
from trainers.evaluate import OnnxSession
from trainers.export import onnx_bytes
from trainers.learner import Case, Exported
from trainers.models import team_coordination
from trainers.models.team_coordination import TeamCoordination
from trainers.networks.lstm import BARRED, JointCritic, RecurrentActor
from trainers.parameters import fields
from trainers.single import single_spec
from trainers.target import Control, TrialTarget

TARGET = "support/team_coordination"
FIGHTS = 4
TINY: Params = {
    "mappo.horizon": 4,
    "mappo.chunk": 2,
    "mappo.epochs": 1,
    "mappo.minibatches": 2,
    "mappo.accumulation": 2,
    "mappo.layers": 2,
    "mappo.width": 8,
    "mappo.critic": 8,
}


@pytest.fixture(scope="module", autouse=True)
def few_fights() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team_coordination, "FIGHTS", FIGHTS)
        patch.setattr(team_coordination, "REHEARSED_FIGHTS", 16)
        patch.setattr(evaluate, "ROWS", 8)
        yield


def tiny_args(**changes: object) -> Args:
    params = {name: value for name, value in default_params(TARGET).items() if not name.startswith("reward.")}
    return replace(fields(Args, TeamCoordination.names, {**params, **TINY}), **changes)


def learner(args: Args, rollouts: int = 3, seed: int = 1, case: Case | None = None) -> Mappo:
    steps = rollouts * args.horizon * FIGHTS * 5
    return TeamCoordination().learner(case or Case("support", 1, {}), args, steps, seed, None)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # it is off

    def make_learner(self, seed: int) -> Mappo:
        return learner(tiny_args(), seed=seed)

    def example(self, exported: Exported, rows: int) -> dict[str, np.ndarray]:
        inputs = super().example(exported, rows)
        inputs["observation"][::2, 6:9] = 0  # some orders are open, some are not
        return inputs


class TestTarget(TargetConformance):
    params: ClassVar[Params] = {**default_params(TARGET), **TINY}

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        return ArenaTarget(single_spec(TARGET, 1, self.params, 4 * FIGHTS * 5, 7), folder, control)


def actor(layers: int = 2, bars: Mapping[int, int] | None = None) -> RecurrentActor:
    torch.manual_seed(0)
    return RecurrentActor(6, layers, 4, 10, bars or {})


def test_unrolled_over_time_the_actor_says_what_it_says_step_by_step() -> None:
    network, o = actor(), torch.rand(5, 3, 6)
    h, c = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    goes_on = torch.ones(5, 3)
    goes_on[2, 1] = 0
    unrolled = network.unroll(o, h, c, goes_on)
    for t in range(5):
        keep = goes_on[t][:, None, None]
        logits, h, c = network(o[t], h * keep, c * keep)
        torch.testing.assert_close(unrolled[t], logits)


def test_the_cell_is_an_lstm() -> None:
    network, reference = actor(layers=1), torch.nn.LSTMCell(4, 4)
    cell = network.cells[0]
    with torch.no_grad():
        reference.weight_ih.copy_(cell.of_input.weight)
        reference.weight_hh.copy_(cell.of_state.weight)
        reference.bias_ih.copy_(cell.of_input.bias)
        reference.bias_hh.zero_()
    x, h, c = torch.randn(7, 4), torch.randn(7, 4), torch.randn(7, 4)
    for found, expected in zip(cell.follow(cell.of_input(x), h, c), reference(x, (h, c)), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_choice_that_is_out_of_the_question_is_barred_and_only_then() -> None:
    network = actor(bars={3: 5})
    o = torch.rand(2, 6) + 0.1
    o[1, 5] = 0
    logits = network(o, torch.zeros(2, 2, 4), torch.zeros(2, 2, 4))[0]
    assert logits[0, 3] == BARRED
    assert (logits[0, [0, 1, 2, 4, 5, 6, 7, 8, 9]] > -10).all()
    assert (logits[1] > -10).all()


def test_a_fight_that_ended_leaves_no_memory_to_the_next() -> None:
    training = learner(tiny_args(horizon=32, chunk=2))
    for _ in range(32):
        training.advance()
    rollout = training.rollout
    first = rollout.goes_on == 0
    assert first[0].all()
    assert first[1:].any(), "fights ended within the rollout"
    np.testing.assert_array_equal(first[1:].numpy(), rollout.last[:-1].numpy() == 1)
    at_chunk = first[::2]
    assert not rollout.memory[at_chunk].any()
    assert rollout.memory[~at_chunk].any(-1).all()


def test_a_later_fight_does_not_depend_on_an_earlier_one_and_its_own_ticks_do() -> None:
    network, o = actor(), torch.rand(4, 1, 6)
    goes_on = torch.tensor([[1.0], [1.0], [0.0], [1.0]])
    before = network.unroll(o, torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), goes_on)
    o[0] += 1
    after = network.unroll(o, torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), goes_on)
    assert (before[1] != after[1]).any()
    assert torch.equal(before[2:], after[2:])


def test_advantages_are_those_of_the_definition() -> None:
    rollout = PackRollout(4, 2, 1, 2, 3, 3, 2)
    rng = np.random.default_rng(0)
    r, V = rng.random((4, 1, 2)), rng.random((5, 1, 2))
    rollout.r.numpy()[:], rollout.V.numpy()[:] = r, V[:4]
    rollout.last[1] = 1
    rollout.weigh(V[4].astype(np.float32), 0.9, 0.8)
    expected = np.zeros((4, 1, 2))
    for first, last in ((0, 1), (2, 3)):
        for t in range(first, last + 1):
            for k in range(t, last + 1):
                following = 0.0 if k == 1 else 0.9 * V[k + 1]
                expected[t] += (0.9 * 0.8) ** (k - t) * (r[k] + following - V[k])
    np.testing.assert_allclose(rollout.A.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(rollout.R.numpy(), expected + V[:4], rtol=1e-5)


def test_the_critics_scale_is_that_of_the_returns_from_the_first_rollout_on() -> None:
    scale = ValueScale()
    assert (scale.centre, scale.spread) == (0.0, 1.0)
    scale.note(np.array([3.0, 7.0], np.float32))
    assert scale.centre == pytest.approx(5)
    assert scale.spread == pytest.approx(2)


def test_actors_see_their_own_observation_alone_and_the_critic_sees_the_whole_fight() -> None:
    exported = learner(tiny_args()).exported()
    assert dict(exported.inputs) == {"observation": (64,), "h_in": (2, 8), "c_in": (2, 8)}
    assert dict(exported.outputs) == {"logits": (10,), "h_out": (2, 8), "c_out": (2, 8)}
    critic, o, joint = JointCritic(6, 5, 8), torch.rand(3, 2, 6), torch.rand(3, 5)
    assert (critic(o, joint) != critic(o, joint + 1)).all()


def test_a_member_whose_life_is_over_does_not_move_the_policy() -> None:
    training = learner(tiny_args(value_coefficient=0.0, entropy_coefficient=0.0, learning_rate=1.0))
    before = [parameter.clone() for parameter in training.actor.parameters()]
    for _ in range(training.args.horizon):
        training.advance()
    training.rollout.o[..., 0] = 0
    training.advance()
    assert all(torch.equal(a, b) for a, b in zip(before, training.actor.parameters(), strict=True))


def test_by_the_end_the_policy_is_as_much_sharper_as_it_was_told() -> None:
    training = learner(tiny_args(sharpness=5.0), rollouts=4)
    factors = []
    while not training.finished:
        factors.append(training._sharpness)
        training.advance()
    units = training.args.horizon + training.args.epochs * training.args.minibatches
    assert factors == [factor for factor in (1.0, 2.0, 3.0, 4.0) for _ in range(units)]
    training = learner(tiny_args(sharpness=5.0, learning_rate=0.0), rollouts=4)
    for _ in range(2 * units - 1):
        training.advance()
    assert training.means.kl < 1e-6, "what acted and what learns are one policy"


def test_accumulated_micro_batches_give_nearly_the_step_of_one_batch() -> None:
    ends = []
    for accumulation in (1, 2):
        training = learner(tiny_args(accumulation=accumulation, gradient_clip=1e9, learning_rate=1e-3, minibatches=1))
        for _ in range(training.args.horizon + 1):
            training.advance()
        ends.append(torch.cat([parameter.grad.flatten() for parameter in training.critic.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-5)


def test_without_progress_it_ends_early_and_says_so_by_its_steps() -> None:
    stuck = learner(tiny_args(learning_rate=0.0, patience=1), rollouts=60)
    end_of(stuck)
    assert 0 < stuck.steps_done < 60 * 4 * FIGHTS * 5


def test_numbers_that_blow_up_end_the_training() -> None:
    training = learner(tiny_args())
    with torch.no_grad():
        training.critic.value.weight.fill_(float("nan"))
    with pytest.raises(TrialError, match="loss nan"):
        end_of(training)


def test_a_later_training_starts_from_weights_that_fit_and_passes_over_others() -> None:
    first = learner(tiny_args())
    end_of(first)
    again = TeamCoordination().learner(Case("support", 1, {}), tiny_args(), 80, 2, first.final())
    assert again.warm
    assert all(torch.equal(a, b) for a, b in zip(again.actor.parameters(), first.actor.parameters(), strict=True))
    wider = TeamCoordination().learner(Case("support", 1, {}), tiny_args(width=12), 80, 2, first.final())
    assert not wider.warm


@pytest.mark.parametrize("pack", [2, 3])
def test_a_smaller_pack_trains_and_plays_by_the_same_code(pack: int) -> None:
    kind, case = TeamCoordination(pack_size=pack), Case("mage", 2, {})
    training = kind.learner(case, tiny_args(), 2 * 4 * FIGHTS * pack, 1, None)
    end_of(training)
    scores = kind.player(case, OnnxSession(onnx_bytes(training.exported()))).play(5, 3)
    assert len(scores) == 3


def test_reward_weights_reach_the_training() -> None:
    ends = [
        end_of(learner(tiny_args(), case=Case("support", 1, {"reward.healing_done": weight})))[0]
        for weight in (0.0, 6.0)
    ]
    assert ends[0] != ends[1]


def test_numbers_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(TrialError, match=r"chunk \(3\) must divide horizon \(4\)"):
        tiny_args(chunk=3)
    with pytest.raises(TrialError, match=r"layers must be at least 1.*clip must be above 0"):
        tiny_args(layers=0, clip=0.0)


def test_it_learns_to_earn_more_than_it_did_at_the_start() -> None:
    args = tiny_args(layers=1, width=24, critic=24, horizon=16, chunk=16, learning_rate=5e-4, epochs=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team_coordination, "FIGHTS", 32)
        case = Case("aggressive", 1, {})
        training = TeamCoordination().learner(case, args, 4 * 16 * 32 * 5, 3, None)
        early = None
        while not training.finished:
            training.advance()
            if early is None and training.episodes.count >= 32:
                early = training.episodes.reward
    assert early is not None
    assert training.episodes.reward > 1.3 * early
