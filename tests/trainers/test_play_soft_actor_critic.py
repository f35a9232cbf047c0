"""An actor and its critics from recorded play, in a world of one step whose best answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.experience.rows import Experiences
from tests.support.recorded_play import pages_of
from trainers.algorithms.defaults import SacArgs
from trainers.algorithms.from_play.learner import FromPlay
from trainers.algorithms.from_play.plan import Plan
from trainers.algorithms.from_play.soft_actor_critic import TAU_FACTOR, PlayedSac
from trainers.algorithms.sac import Args

CHEAP = 100.0
ARGS = SacArgs(hidden="32", learning_rate=1.2e-3, learning_rate_end=0.1, tau=0.05)
PLAN = Plan(new_rows=1500, gradient_steps=200, batch_size=64, gradient_accumulation_steps=1, conservatism=CHEAP)
BEST = 0.5


def guesses(rows: int = 1500, centre: float = 0.0) -> Experiences:
    """One number is said, some way around the centre; it earns 1 less its squared distance from the best."""
    said = np.clip(np.random.default_rng(0).normal(centre, 0.4, (rows, 1)), -1, 1)
    states, ends, episodes = np.ones((rows, 1)), np.ones(rows, bool), np.arange(1, rows + 1)
    return Experiences.of(states, said, 1 - (said[:, 0] - BEST) ** 2, states, ends, time_us=1, episodes=episodes)


def learner(plan: Plan = PLAN, args: Args = ARGS, rows: Experiences | None = None, seed: int = 1) -> FromPlay:
    torch.manual_seed(seed)
    played = guesses() if rows is None else rows
    return FromPlay(PlayedSac(args, plan.conservatism, 1, 1, None), plan, seed, pages_of(played))


def answer(training: FromPlay) -> float:
    with torch.no_grad():
        return float(training.exported().network(torch.ones(1, 1)))


def run(training: FromPlay) -> FromPlay:
    while not training.finished:
        training.advance()
    return training


def test_it_finds_what_was_best_among_what_was_said() -> None:
    training = learner()
    before = answer(training)
    run(training)
    assert answer(training) == pytest.approx(BEST, abs=0.15)
    assert abs(answer(training) - BEST) < abs(before - BEST)
    metrics = training.metrics()
    assert metrics["holdout_return_error"] < 0.5 * metrics["holdout_return_error_before"]


def test_the_dearer_it_is_the_less_it_leaves_what_it_did_at_first() -> None:
    moved = []
    for conservatism in (CHEAP, 10 * CHEAP, 1000 * CHEAP):
        training = learner(Plan(**{**vars(PLAN), "conservatism": conservatism}))
        before = answer(training)
        moved.append(abs(answer(run(training)) - before))
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 0.1 * moved[0]


def test_the_critics_that_value_what_comes_after_follow_a_little_in_each_gradient_step() -> None:
    training = learner(Plan(**{**vars(PLAN), "gradient_steps": 1}))
    before = {name: value.clone() for name, value in training.final()["target"].items()}  # type: ignore[attr-defined]
    after = run(training).final()
    for name, followed in after["target"].items():  # type: ignore[attr-defined]
        led = after["critics"][name]  # type: ignore[index]
        assert torch.allclose(followed, before[name] + ARGS.tau * TAU_FACTOR * (led - before[name]), atol=1e-7)
    assert any(not torch.equal(before[name], followed) for name, followed in after["target"].items())  # type: ignore[attr-defined]


def test_only_answers_close_to_what_was_said_are_the_same() -> None:
    told: dict[float, float] = {}
    for centre in (0.0, 5.0):  # far out everything that is said is 1
        training = learner(Plan(**{**vars(PLAN), "gradient_steps": 1}), rows=guesses(centre=centre))
        told[centre] = run(training).metrics()["holdout_agreement_before"]
    assert told[0.0] > 0.5
    assert told[5.0] == 0.0


def _finite(weights: dict[str, NDArray[np.float32]]) -> bool:
    return all(bool(torch.isfinite(torch.as_tensor(value)).all()) for value in weights.values())


def test_numbers_that_blow_up_end_it_with_the_last_good_weights() -> None:
    args = SacArgs(**{**vars(ARGS), "learning_rate": 1e30, "gradient_clip": 1e30, "learning_rate_end": 1.0})
    training = learner(args=args)
    with pytest.raises(TrialError) as told:
        run(training)
    assert told.value.reason is Reason.DIVERGED
    assert all(_finite(weights) for weights in training.final().values())  # type: ignore[arg-type]
