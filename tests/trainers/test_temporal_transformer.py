from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from supervisor.contract import Params
from supervisor.errors import TrialError
from tests.support.arena_trials import default_params
from tests.support.learner_conformance import LearnerConformance, end_of
from tests.support.target_conformance import TargetConformance
from trainers.algorithms.imitation import Teaching, leaning
from trainers.algorithms.temporal import Args, Fights, Streams, TemporalImitation
from trainers.arena import levels
from trainers.arena_target import ArenaTarget
from trainers.learner import Case
from trainers.models import temporal_transformer
from trainers.models.temporal_transformer import TemporalTransformer
from trainers.networks.transformer_xl import OneTick, Shape, TransformerXL
from trainers.parameters import fields
from trainers.single import single_spec
from trainers.target import Control, TrialTarget

TARGET = "aggressive/temporal_transformer"
TINY: Params = {
    "temporal.horizon": 2,
    "temporal.rows": 8,
    "temporal.fights_kept": 32,
    "temporal.segment": 4,
    "temporal.memory": 3,
    "temporal.streams": 4,
    "temporal.accumulation": 2,
    "temporal.updates": 1,
    "temporal.layers": 1,
    "temporal.width": 8,
    "temporal.heads": 2,
    "temporal.dropout": 0.1,
}
ROUND = 32
SMALL = Shape(inputs=5, choices=3, layers=2, width=8, heads=2, memory=6)


@pytest.fixture(scope="module", autouse=True)
def short_fights() -> Iterator[None]:
    """Few of them are rehearsed, and the foe makes short work of the learner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "strength", lambda *_: 20.0)
        patch.setattr(temporal_transformer, "REHEARSED_FIGHTS", 16)
        yield


def tiny_args(**changes: object) -> Args:
    params = {name: value for name, value in default_params(TARGET).items() if not name.startswith("reward.")}
    return replace(fields(Args, TemporalTransformer.names, {**params, **TINY}), **changes)


def learner(args: Args, rounds: int = 12, seed: int = 1) -> TemporalImitation:
    return TemporalTransformer().learner(Case("aggressive", 5, {}), args, rounds * ROUND, seed, None)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # it is off

    def make_learner(self, seed: int) -> TemporalImitation:
        return learner(tiny_args(), seed=seed)


class TestTarget(TargetConformance):
    params: ClassVar[Params] = {**default_params(TARGET), **TINY}

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        return ArenaTarget(single_spec(TARGET, 1, self.params, 12 * ROUND, 7), folder, control)


class Recall:
    """A course in which only memory helps: right is what was shown two ticks ago, a segment before."""

    rows, choices, length = 16, 3, 8

    def __init__(self) -> None:
        self.t = 0
        self.shown = np.zeros((self.rows, 3), np.int64)  # now, one tick ago, two ticks ago
        self._show()

    def _show(self) -> None:
        self.shown = np.roll(self.shown, 1, axis=1)
        self.shown[:, 0] = np.random.default_rng(self.t).integers(0, 3, self.rows)

    @property
    def observation(self) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[self.shown[:, 0]]

    def script(self) -> np.ndarray:
        return np.zeros(self.rows, np.int64)

    def step(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.t += 1
        self._show()
        return np.full(self.rows, self.t % self.length == 0), np.zeros(self.rows, np.float32)

    def snapshot(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        known = np.full(len(rows), self.t % self.length >= 2)
        return {"right": self.shown[rows, 2], "known": known}

    def returns(self, snapshots: list[dict[str, np.ndarray]]) -> np.ndarray:
        right = np.concatenate([part["right"] for part in snapshots])
        known = np.concatenate([part["known"] for part in snapshots])
        return np.eye(3, dtype=np.float32)[right] * known[:, None]

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def load_state(self, saved: object) -> None: ...


def test_it_learns_what_only_a_memory_can_know() -> None:
    args = tiny_args(
        rows=16,
        fights_kept=64,
        segment=2,
        memory=3,
        streams=32,
        width=16,
        updates=4,
        temperature=0.3,
        dropout=0.0,
    )
    args = replace(args, learning_rate=1e-3, learning_rate_factor=4.0, accumulation=1, label_share=1.0)
    course = Recall()
    training = TemporalImitation(args, course, Recall.length, 45 * 32, 1)
    end_of(training)
    right = known = 0
    one, memory, ticks = training.acting.eval(), training.network.empty_memory(16), torch.zeros(16, 1)
    fresh = Recall()
    for _ in range(Recall.length):
        with torch.no_grad():
            logits, memory, ticks = one(torch.from_numpy(fresh.observation), memory, ticks)
        snapshot = fresh.snapshot(np.arange(16))
        right += int(((logits.argmax(1).numpy() == snapshot["right"]) & snapshot["known"]).sum())
        known += int(snapshot["known"].sum())
        fresh.step(fresh.script())
    assert right / known > 0.9  # one in three without a memory


def sequence(ticks: int, rows: int = 5) -> tuple[Tensor, Tensor]:
    """Observations and ages of rows whose fights end here and there."""
    rng = np.random.default_rng(0)
    ages = np.zeros((rows, ticks), np.float32)
    for tick in range(1, ticks):
        ages[:, tick] = np.where(rng.random(rows) < 0.12, 0, ages[:, tick - 1] + 1)
    return torch.from_numpy(rng.standard_normal((rows, ticks, SMALL.inputs), dtype=np.float32)), torch.from_numpy(ages)


@pytest.mark.parametrize("segment", [1, 4, 10, 40])
def test_tick_by_tick_the_network_answers_what_it_does_for_whole_segments(segment: int) -> None:
    torch.manual_seed(0)
    network = TransformerXL(SMALL).eval()
    observations, ages = sequence(40)
    with torch.no_grad():
        for layer in network.layers:
            layer.attention.u.normal_()
            layer.attention.v.normal_()
        one, memory, ticks = OneTick(network), network.empty_memory(5), torch.zeros(5, 1)
        answers = []
        for tick in range(40):
            ticks = torch.where(ages[:, tick : tick + 1] == 0, 0.0, ticks)
            logits, memory, ticks = one(observations[:, tick], memory, ticks)
            answers.append(logits)
        memory, whole = network.empty_memory(5), []
        for begin in range(0, 40, segment):
            part = slice(begin, begin + segment)
            logits, memory = network(observations[:, part], ages[:, part], memory)
            whole.append(logits)
    np.testing.assert_allclose(torch.cat(whole, 1).numpy(), torch.stack(answers, 1).numpy(), atol=2e-6)


def test_nothing_is_seen_of_a_fight_before_nor_of_ticks_beyond_the_memory() -> None:
    torch.manual_seed(0)
    network = TransformerXL(SMALL).eval()
    observations, ages = sequence(12)
    ages[:] = torch.arange(12.0)
    ages[:, 5:] -= 5  # a new fight at tick 5
    other = observations.clone()
    other[:, :5] += 1.0
    memory = torch.randn(5, *network.memory_shape)
    with torch.no_grad():
        before, _ = network(observations, ages, network.empty_memory(5))
        after, _ = network(other, ages, memory)
    np.testing.assert_array_equal(before[:, 5:].numpy(), after[:, 5:].numpy())
    assert not torch.equal(before[:, :5], after[:, :5])


def test_the_future_is_not_seen() -> None:
    torch.manual_seed(0)
    network = TransformerXL(SMALL).eval()
    observations, ages = sequence(10)
    later = observations.clone()
    later[:, 7:] += 1.0
    with torch.no_grad():
        one, other = (network(seen, ages, network.empty_memory(5))[0] for seen in (observations, later))
    np.testing.assert_array_equal(one[:, :7].numpy(), other[:, :7].numpy())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_checkpointing_changes_no_bit_of_a_gradient(dropout: float) -> None:
    found = []
    observations, ages = sequence(8)
    for flag in (False, True):
        torch.manual_seed(0)
        network = TransformerXL(SMALL, dropout, checkpointing=flag).train()
        logits, _ = network(observations, ages, torch.ones(5, *network.memory_shape))
        logits.square().mean().backward()
        found.append([parameter.grad for parameter in network.parameters()])
    assert all(a is not None and torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_fight_begins_with_an_empty_place_and_streams_read_fights_from_first_to_last_tick() -> None:
    fights = Fights(kept=8, rows=2, ticks=5, inputs=1, choices=2)
    rng = np.random.default_rng(0)
    number = 0
    for tick in range(40):
        fights.see(np.array([[number], [number + 1]], np.float32))
        number += 2
        fights.note(np.flatnonzero([tick % 3 == 2, tick % 5 == 4]))
    assert set(fights.length[fights.readable()]) == {3, 5}
    streams = Streams(4, torch.zeros(4, 1))
    seen, ages, _ = streams.read(fights, 12, rng)
    for row in range(4):
        assert ages[row, 0] == 0
        for tick in range(1, 12):
            if ages[row, tick]:
                assert ages[row, tick] == ages[row, tick - 1] + 1
                assert seen[row, tick] == seen[row, tick - 1] + 2


def test_targets_favour_better_choices_and_no_scale_of_rewards_changes_them() -> None:
    returns = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    soft, sharp, scaled = Teaching(1.0), Teaching(0.05), Teaching(1.0)
    target = soft.targets(returns)
    np.testing.assert_allclose(target.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(target.argmax(1), returns.argmax(1))
    assert sharp.targets(returns).max(1).mean() > 0.9 > target.max(1).mean()
    np.testing.assert_allclose(scaled.targets(returns * np.float32(64)), target, rtol=1e-5)


def test_the_script_is_followed_less_and_less() -> None:
    assert [leaning(share, 0.5) for share in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.5, 0.0, 0.0]
    assert leaning(0.0, 0.0) == 0.0


def test_without_progress_it_ends_early() -> None:
    stuck = learner(tiny_args(learning_rate=1e-12, patience=2), rounds=40)
    end_of(stuck)
    assert 0 < stuck.steps_done < 40 * ROUND


def test_reward_weights_reach_the_weights() -> None:
    ends = []
    for weight in (2.0, 0.1):
        case = Case("aggressive", 1, {"reward.damage_dealt": weight})
        ends.append(end_of(TemporalTransformer().learner(case, tiny_args(), 12 * ROUND, 1, None))[0])
    assert ends[0] != ends[1]


def test_numbers_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(TrialError, match="width 12 must be a multiple of twice the heads, 8"):
        tiny_args(width=12, heads=4)
    with pytest.raises(TrialError, match=r"fights_kept must be at least four times rows; label_share must be above 0"):
        tiny_args(fights_kept=8, label_share=0.0)
