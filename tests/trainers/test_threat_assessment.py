"""The calibrated ensemble, and threat_assessment which it is for."""

from __future__ import annotations

from collections.abc import Iterator
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
from trainers.algorithms import ensemble
from trainers.algorithms.ensemble import Args, Ensemble, calibration_error, fitted_temperature, nll, softmax
from trainers.arena_target import ArenaTarget
from trainers.learner import Case
from trainers.models import threat_assessment
from trainers.models.threat_assessment import ThreatAssessment
from trainers.networks.ensemble import EnsembleNetwork
from trainers.parameters import fields
from trainers.single import single_spec
from trainers.target import Control, TrialTarget

TARGET = "mage/threat_assessment"
TINY: Params = {"threat.members": 3, "threat.hidden": "8", "threat.fights": 4, "threat.accumulation": 2}


@pytest.fixture(scope="module", autouse=True)
def few_held_out_fights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "HELD_OUT_FIGHTS", 48)
        patch.setattr(threat_assessment, "REHEARSED", 160)
        yield


def tiny_args(**changes: object) -> Args:
    params = {name: value for name, value in default_params(TARGET).items() if not name.startswith("reward.")}
    return replace(fields(Args, ThreatAssessment.names, {**params, **TINY}), **changes)


def learner(args: Args, steps: int = 240, seed: int = 1, case: Case | None = None) -> Ensemble:
    return ThreatAssessment().learner(case or Case("mage", 1, {}), args, steps, seed, None)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience", "figures"})  # it is off; they are overwritten at the end, but for the loss

    def make_learner(self, seed: int) -> Ensemble:
        return learner(tiny_args(), seed=seed)


class TestTarget(TargetConformance):
    params: ClassVar[Params] = {**default_params(TARGET), **TINY}

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        return ArenaTarget(single_spec(TARGET, 1, self.params, 60, 7), folder, control)


def test_it_learns_more_than_the_nearest_foe_tells() -> None:
    args = tiny_args(hidden="48", fights=64, accumulation=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "HELD_OUT_FIGHTS", 128)
        figures = end_of(learner(args, steps=48 * 64 * 5, case=Case("aggressive", 1, {})))[1]
    assert figures["accuracy"] > figures["baseline_accuracy"] + 0.1
    assert figures["ece"] < 0.2


def test_the_fitted_temperature_leaves_with_the_network() -> None:
    training = learner(tiny_args())
    figures = end_of(training)[1]
    temperature = figures["temperature"]
    assert temperature != 1
    o = torch.rand(5, 64)
    with torch.no_grad():
        expected = torch.softmax(training.network.logits(o) / temperature, 2).mean(0)
        found, _ = training.exported().network(o)
    torch.testing.assert_close(found, expected)


def overconfident(factor: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three members, `factor` times as sure as the classes that were drawn from them warrant."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1.5, (n, 6))
    p = softmax(z)
    y = (p.cumsum(1) < rng.random(n)[:, None]).sum(1)
    return np.repeat(factor * z[None], 3, 0), y


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_takes_back_what_the_members_are_too_sure_of(factor: float) -> None:
    z, y = overconfident(factor)
    temperature = fitted_temperature(z, y)
    assert temperature == pytest.approx(factor, rel=0.08)
    assert calibration_error(softmax(z / temperature).mean(0), y) < 0.03
    if factor != 1:
        assert calibration_error(softmax(z).mean(0), y) > 0.1


def test_no_temperature_fits_better_than_the_fitted_one() -> None:
    z, y = overconfident(2.0, 500)
    best = nll(softmax(z / fitted_temperature(z, y)).mean(0), y)
    assert all(best <= nll(softmax(z / t).mean(0), y) + 1e-6 for t in np.geomspace(0.1, 10, 60))


def test_the_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    y = np.array([0, 1, 0, 0])
    assert calibration_error(p, y) == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6))


def test_uncertainty_is_the_entropy_of_the_mean_and_what_the_members_disagree_about() -> None:
    torch.manual_seed(0)
    network = EnsembleNetwork(2, 3, (), 2)
    with torch.no_grad():
        network.weights[0].zero_()
        network.biases[0].copy_(torch.tensor([[[40.0, 0.0]], [[0.0, 40.0]]]))
    p, u = network(torch.rand(4, 3))
    torch.testing.assert_close(p, torch.full((4, 2), 0.5))
    torch.testing.assert_close(u, torch.full((4, 2), float(np.log(2))))
    with torch.no_grad():
        network.biases[0].zero_()
    torch.testing.assert_close(network(torch.rand(4, 3))[1], torch.tensor([[float(np.log(2)), 0.0]]).repeat(4, 1))


def test_members_are_independent_of_each_other() -> None:
    """The stack's first members are what a smaller stack would be, bit for bit."""
    one = learner(tiny_args(members=1, bootstrap=False, gradient_clip=1e9))
    three = learner(tiny_args(members=3, bootstrap=False, gradient_clip=1e9))
    with torch.no_grad():
        for small, large in zip(one.network.parameters(), three.network.parameters(), strict=True):
            small.copy_(large[:1])
    for _ in range(4):
        one.advance()
        three.advance()
    for small, large in zip(one.network.parameters(), three.network.parameters(), strict=True):
        torch.testing.assert_close(small[0], large[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bootstrap", [True, False])
def test_with_the_bootstrap_members_of_equal_weights_part_and_without_it_they_do_not(bootstrap: bool) -> None:
    training = learner(tiny_args(bootstrap=bootstrap))
    with torch.no_grad():
        for parameter in training.network.parameters():
            parameter.copy_(parameter[:1].expand_as(parameter))
    training.advance()
    last = list(training.network.parameters())[-1]
    assert bootstrap != torch.equal(last[0], last[1])


def test_what_was_at_stake_counts_more_and_the_fallen_do_not_count() -> None:
    ends = [end_of(learner(tiny_args(), case=Case("mage", 1, {"reward.spell_damage": w})))[0] for w in (0.0, 9.0)]
    assert ends[0] != ends[1]
    even = [
        end_of(learner(tiny_args(stake=0.0), case=Case("mage", 1, {"reward.spell_damage": w})))[0] for w in (0.0, 9.0)
    ]
    assert even[0] == even[1]


def test_without_progress_it_ends_early_and_says_so_by_its_steps() -> None:
    stuck = learner(tiny_args(learning_rate=0.0, patience=1), steps=60 * 20)
    end_of(stuck)
    assert 0 < stuck.steps_done < 60 * 20


def test_numbers_that_blow_up_end_the_training() -> None:
    training = learner(tiny_args())
    with torch.no_grad():
        training.network.biases[0].fill_(float("nan"))
    with pytest.raises(TrialError, match="loss nan"):
        training.advance()


def test_the_baseline_is_a_player_of_the_same_situations() -> None:
    name, player = ThreatAssessment().baseline(Case("tank", 1, {}))
    assert name == "nearest foe"
    whole = player.play(50, 150)
    assert whole == [*player.play(50, 3), *player.play(53, 147)]
    assert 0.05 < float(np.mean(whole)) < 0.5


def test_a_later_training_starts_from_weights_that_fit_and_passes_over_others() -> None:
    first = learner(tiny_args())
    first.advance()
    again = ThreatAssessment().learner(Case("mage", 1, {}), tiny_args(), 60, 2, first.final())
    assert again.warm
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), first.network.parameters(), strict=True))
    wider = ThreatAssessment().learner(Case("mage", 1, {}), tiny_args(hidden="12"), 60, 2, first.final())
    assert not wider.warm


def test_numbers_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(TrialError, match=r'members must be at least 1.*hidden must be widths like "128,128".*stake'):
        tiny_args(members=0, hidden="a", stake=-1.0)
