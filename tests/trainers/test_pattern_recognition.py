from __future__ import annotations

import math
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
from trainers.algorithms import contrastive
from trainers.algorithms.contrastive import Args, ContrastiveRecognition, supervised_contrastive
from trainers.arena_target import ArenaTarget
from trainers.learner import Case
from trainers.models import pattern_recognition
from trainers.models.pattern_recognition import PatternRecognition
from trainers.parameters import fields
from trainers.single import single_spec
from trainers.target import Control, TrialTarget

TARGET = "mage/pattern_recognition"
TINY: Params = {
    "recognition.batch_size": 8,
    "recognition.accumulation": 2,
    "recognition.ticks": 6,
    "recognition.width": 8,
    "recognition.heads": 2,
    "recognition.embedding": 4,
}


@pytest.fixture(scope="module", autouse=True)
def few_held_out_situations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "HELD_OUT", 256)
        patch.setattr(pattern_recognition, "REHEARSED", 256)
        yield


def tiny_args(**changes: object) -> Args:
    params = {name: value for name, value in default_params(TARGET).items() if not name.startswith("reward.")}
    return replace(fields(Args, PatternRecognition.names, {**params, **TINY}), **changes)


def learner(args: Args, steps: int = 192, seed: int = 1) -> ContrastiveRecognition:
    return PatternRecognition().learner(Case("mage", 1, {}), args, steps, seed, None)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # it is off

    def make_learner(self, seed: int) -> ContrastiveRecognition:
        return learner(tiny_args(), seed=seed)


class TestTarget(TargetConformance):
    params: ClassVar[Params] = {**default_params(TARGET), **TINY}

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        return ArenaTarget(single_spec(TARGET, 1, self.params, 64, 7), folder, control)


def test_it_learns_to_recognise_what_an_untrained_network_does_not() -> None:
    args = tiny_args(batch_size=64, accumulation=1, ticks=12, width=24, dropout=0.0, learning_rate=1e-3)
    figures = end_of(learner(args, steps=5120))[1]
    assert figures["held_out_accuracy"] > 0.33  # one in eight is chance


def test_the_contrastive_loss_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(6, 3), dim=1)
    classes, temperature = [0, 0, 0, 1, 1, 2], 0.2
    expected = []
    for i in range(6):
        others = [a for a in range(6) if a != i]
        below = sum(math.exp(float(z[i] @ z[a]) / temperature) for a in others)
        same = [a for a in others if classes[a] == classes[i]]
        logs = [math.log(math.exp(float(z[i] @ z[p]) / temperature) / below) for p in same]
        expected.append(-sum(logs) / max(1, len(logs)))
    found = supervised_contrastive(z, torch.tensor(classes), temperature)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def gradients(training: ContrastiveRecognition) -> list[Tensor]:
    training.advance()
    return [parameter.grad.clone() for parameter in training.network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_checkpointing_changes_no_bit_of_a_gradient(dropout: float) -> None:
    kept, again = (gradients(learner(tiny_args(dropout=dropout, checkpointing=flag))) for flag in (False, True))
    assert len(kept) > 10
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_accumulated_micro_batches_give_the_gradient_of_one_batch() -> None:
    args = tiny_args(dropout=0.0, contrastive_weight=0.0, gradient_clip=1e9)
    whole = gradients(learner(replace(args, batch_size=16, accumulation=1)))
    parts = gradients(learner(replace(args, batch_size=8, accumulation=2)))
    # weights are normalised within a micro-batch, so the two agree but for that
    assert all(torch.allclose(a, b, rtol=0.2, atol=2e-2) for a, b in zip(whole, parts, strict=True))


def test_the_baseline_is_the_nearest_centroid_and_plays_the_same_situations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_recognition, "BASELINE_SITUATIONS", 512)
    found = PatternRecognition().baseline(Case("mage", 1, {}))
    assert found is not None
    name, player = found
    scores = player.play(2**50, 300)
    assert name == "nearest centroid"
    assert list(scores[:200]) == [*player.play(2**50, 130), *player.play(2**50 + 130, 70)]
    assert 0.25 < np.mean(scores) < 0.9


def test_without_progress_it_ends_early_and_says_so_by_its_steps() -> None:
    stuck = learner(tiny_args(learning_rate=1e-12, patience=2), steps=960)
    end_of(stuck)
    assert 0 < stuck.steps_done < 960


def test_reward_weights_reach_the_loss() -> None:
    ends = []
    for weight in (1.0, 9.0):
        case = Case("mage", 1, {"reward.spell_damage": weight})
        ends.append(end_of(PatternRecognition().learner(case, tiny_args(), 64, 1, None))[0])
    assert ends[0] != ends[1]


def test_a_later_training_starts_from_weights_that_fit_and_passes_over_others() -> None:
    first = learner(tiny_args())
    first.advance()
    start = first.final()
    again = PatternRecognition().learner(Case("mage", 1, {}), tiny_args(), 64, 2, start)
    assert again.warm
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), first.network.parameters(), strict=True))
    wider = PatternRecognition().learner(Case("mage", 1, {}), tiny_args(width=12), 64, 2, start)
    assert not wider.warm


def test_numbers_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(TrialError, match="width 10 must be a multiple of heads 4"):
        tiny_args(width=10, heads=4)
    with pytest.raises(TrialError, match=r"ticks must be at least 1.*temperature must be above 0"):
        tiny_args(ticks=0, temperature=0.0)
