"""Training from recorded play: what is learnt from when, what is kept apart, that it goes on bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.experience.rows import Experiences, joined
from supervisor.experience.store import Page, Position
from tests.support.learner_conformance import LearnerConformance, end_of, saved
from tests.support.recorded_play import pages_of
from tests.trainers.test_dqn import ARGS
from tests.trainers.test_dqn import learner as search
from trainers import weights
from trainers.algorithms.dqn_args import Args
from trainers.algorithms.from_play.double_dqn import PlayedDqn
from trainers.algorithms.from_play.holdout import held_out
from trainers.algorithms.from_play.learner import FromPlay
from trainers.algorithms.from_play.memory import Drawn
from trainers.algorithms.from_play.plan import Plan
from trainers.learner import Learner, State
from trainers.networks.mlp import QNetwork

PLACES = 3


@cache
def corridor(rows: int, goes_on: float = 0.5, seed: int = 0) -> Experiences:
    """Three places in a row: action 1 goes on, out of the last one for 1; action 0 ends it for 0.1. Two games at once,
    whose steps lie mixed."""
    rng, parts = np.random.default_rng(seed), []
    at, episode, step, opened = np.zeros(2, int), np.array([1, 2]), np.zeros(2, int), 2
    for tick in range(rows // 2):
        actions = (rng.random(2) < goes_on).astype(int)
        last = at == PLACES - 1
        reward = np.where(actions == 0, 0.1, np.where(last, 1.0, 0.0))
        done = (actions == 0) | last
        then = np.where(done, 0, at + 1)
        seen, next_seen = np.eye(PLACES)[at], np.eye(PLACES)[then]
        names = {"episodes": episode, "steps": step}
        parts.append(Experiences.of(seen, actions, reward, next_seen, done, time_us=tick, **names))
        fresh = opened + np.cumsum(done)
        episode, step, at = np.where(done, fresh, episode), np.where(done, 0, step + 1), then
        opened = int(fresh[-1])
    return joined(parts)


PLAN = Plan(
    old_rows=100,
    new_rows=500,
    gradient_steps=30,
    batch_size=16,
    gradient_accumulation_steps=2,
    passes=100,
    memory_rows=256,
    holdout_rows=40,
    validation_frequency=20,
)
SMALL = replace(ARGS, hidden="16", n_step=2, target_interval=80)


def learner(
    plan: Plan = PLAN,
    rows: Experiences | None = None,
    args: Args = SMALL,
    seed: int = 1,
    start: State | None = None,
    page: int = 64,
) -> FromPlay:
    torch.manual_seed(seed)
    network = QNetwork(PLACES, args.widths, 2, args.dueling, args.dropout)
    played = corridor(600) if rows is None else rows
    return FromPlay(PlayedDqn(args, plan.conservatism, network, PLACES, start), plan, seed, pages_of(played, page))


def run(training: FromPlay) -> FromPlay:
    while not training.finished:
        training.advance()
    return training


def values(training: FromPlay) -> NDArray[np.float32]:
    with torch.no_grad():
        return training.exported().network(torch.eye(PLACES)).numpy()


class TestResuming(LearnerConformance):
    """From networks of their own, with dropout; hold-out, place and last look are the same for every seed."""

    idle_parts = frozenset({"holdout", "reading", "looked"})

    def make_learner(self, seed: int) -> Learner:
        return learner(args=replace(SMALL, dropout=0.2), seed=seed)

    @pytest.mark.parametrize("part", ["holdout", "reading"])
    def test_what_every_seed_shares_is_needed_too(self, part: str) -> None:
        units, whole_end = self.whole()
        other, fresh = self.make_learner(2), saved(self.make_learner(1))
        other.load_state({**saved(self.advanced(1, units // 2)), part: fresh[part]})
        assert end_of(other) != whole_end

    def test_restored_at_its_end_it_has_the_figures_of_its_last_look(self) -> None:
        units, whole_end = self.whole()
        other = self.make_learner(2)
        other.load_state(saved(self.advanced(1, units)))
        assert other.finished
        assert end_of(other) == whole_end


@pytest.mark.parametrize("page", [1, 7, 600])
def test_how_the_store_cuts_its_pages_makes_no_difference(page: int) -> None:
    assert end_of(learner(page=page)) == end_of(learner(page=64))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_restored_it_goes_on_in_pages_of_another_size_and_reads_only_what_it_has_not(share: float) -> None:
    whole = end_of(learner())
    half = learner(page=64)
    while half.rows_read < share * 600:
        half.advance()
    asked: list[Position] = []
    pages = pages_of(corridor(600), 10)
    again = learner(seed=2)

    def watched(after: Position) -> Iterator[Page]:
        asked.append(after)
        return pages(after)

    again.reading._pages = watched
    again.load_state(saved(half))
    assert end_of(again) == whole
    assert len(asked) == 1
    assert half.rows_read - 64 < asked[0].id <= half.rows_read


def test_gradient_steps_are_spread_evenly_over_the_new_rows_once_the_memory_is_full() -> None:
    training, taken = learner(), {}
    while not training.finished:
        training.advance()
        taken[training.rows_read] = training.gradient_steps
    assert all(steps == 0 for rows, steps in taken.items() if rows < PLAN.memory_rows)
    assert [taken[rows] for rows in (256, 350, 600)] == [9, 15, 30]
    metrics = training.metrics()
    assert {name: metrics[name] for name in ("new_rows", "replayed_rows", "gradient_steps")} == {
        "new_rows": 500,
        "replayed_rows": 100,
        "gradient_steps": 30,
    }


def test_every_gradient_step_draws_rows_of_its_own() -> None:
    training, drawn = learner(replace(PLAN, priority_alpha=0.0, memory_rows=600)), []
    draw = training.memory.draw

    def watched(uniforms: NDArray[np.float64], beta: float, n_step: int) -> Drawn:
        drawn.append(uniforms)
        return draw(uniforms, beta, n_step)

    training.memory.draw = watched  # type: ignore[method-assign]
    run(training)
    assert len({uniforms.tobytes() for uniforms in drawn}) == len(drawn) == 30


def test_rows_that_the_store_no_longer_has_are_missed_and_every_gradient_step_is_taken() -> None:
    training = run(learner(rows=corridor(300)))
    assert (training.new_rows, training.gradient_steps) == (200, 30)


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        (PLAN, 0),
        (PLAN, 100),
        (replace(PLAN, holdout_share=0.99999), 600),
        (replace(PLAN, old_rows=600, new_rows=0), 600),
    ],
)
def test_where_there_is_nothing_to_learn_from_nothing_is_learnt(plan: Plan, rows: int) -> None:
    training = learner(plan, corridor(rows) if rows else corridor(2).where(slice(0, 0)))
    before = values(training)
    assert run(training).gradient_steps == 0
    assert np.array_equal(values(training), before)
    assert all(np.isfinite(value) for value in training.metrics().values())


def test_what_is_held_out_is_never_learnt_from() -> None:
    """Where every episode that is held out had another reward, the training is the same."""
    rows = corridor(600)
    plan = replace(PLAN, holdout_share=0.3)
    whole = learner(plan)
    hidden = np.isin(rows.episodes, whole_holdout := _held_out_episodes(plan, rows))
    assert 0.1 < hidden.mean() < 0.6, whole_holdout
    spoilt = replace(rows, rewards=np.where(hidden, np.float32(-50), rows.rewards))
    other = run(learner(plan, spoilt))
    run(whole)
    assert weights.pack(other.final()) == weights.pack(whole.final())
    assert other.metrics()["holdout_td_error"] > 10 * whole.metrics()["holdout_td_error"]


def _held_out_episodes(plan: Plan, rows: Experiences) -> NDArray[np.int64]:
    return np.unique(rows.episodes[held_out(rows, plan.holdout_share)])


LONG = Plan(new_rows=2000, gradient_steps=400, batch_size=64, gradient_accumulation_steps=1, conservatism=0.0)
FAST = replace(SMALL, hidden="32,32", learning_rate=3e-3, target_interval=80)


@pytest.mark.parametrize(("double", "n_step"), [(True, 1), (False, 1), (True, 3)])
def test_it_learns_what_actions_are_worth_from_play_that_goes_wrong_half_of_the_time(double: bool, n_step: int) -> None:
    training = run(learner(LONG, corridor(2000), replace(FAST, double=double, n_step=n_step)))
    assert values(training).argmax(1).tolist() == [1, 1, 1]
    if n_step == 1:
        assert np.abs(values(training) - [[0.1, 0.64], [0.1, 0.8], [0.1, 1.0]]).max() < 0.1
    metrics = training.metrics()
    assert metrics["holdout_td_error"] < 0.5 * metrics["holdout_td_error_before"]


def test_an_action_that_was_never_played_is_not_chosen_for_a_value_that_nothing_corrects() -> None:
    """The start thinks little of going on and nothing of stopping; whoever only went on has seen that it pays."""
    rows = corridor(2000, goes_on=1.0)
    start = run(learner(replace(LONG, gradient_steps=100), corridor(2000, goes_on=0.9, seed=3), FAST)).final()
    inflated = {name: dict(network) for name, network in start.items()}
    for network in inflated.values():
        network["advantage.bias"] = network["advantage.bias"] + torch.tensor([-1.0, 2.0])
    free, held = (
        values(run(learner(replace(LONG, conservatism=factor, gradient_steps=150), rows, FAST, start=inflated)))
        for factor in (0.0, 100.0)
    )
    margins = [(found[:, 1] - found[:, 0]).min() for found in (free, held)]
    assert margins[1] > margins[0]
    assert held.argmax(1).tolist() == [1, 1, 1]


def test_it_starts_where_the_search_ended_and_the_search_where_it_ended() -> None:
    found = search(SMALL, rows=20)
    while not found.finished:
        found.advance()
    training = learner(start=found.final())
    assert np.array_equal(values(training), found.exported().network(torch.eye(PLACES)).detach().numpy())
    final = run(training).final()
    again = search(SMALL, rows=20, start=final)
    assert again.warm
    assert weights.pack(again.final()) == weights.pack(final)


def test_numbers_that_blow_up_end_it_with_the_last_good_weights() -> None:
    training = learner(args=replace(SMALL, learning_rate=1e30, gradient_clip=1e30, learning_rate_end=1.0))
    with pytest.raises(TrialError, match="norm of the gradient") as told:
        run(training)
    assert told.value.reason is Reason.DIVERGED
    assert all(torch.isfinite(weight).all() for weight in training.final()["network"].values())  # type: ignore[attr-defined]


def test_a_plan_that_no_training_can_follow_is_refused_with_everything_that_is_wrong() -> None:
    with pytest.raises(TrialError, match=r"batch_size must.*; old_rows must.*; holdout_share must"):
        replace(PLAN, batch_size=0, old_rows=-1, holdout_share=1.0)


def test_a_batch_that_is_split_steps_as_the_whole_does() -> None:
    split, whole = (
        values(run(learner(replace(PLAN, batch_size=32 // parts, gradient_accumulation_steps=parts))))
        for parts in (4, 1)
    )
    assert split == pytest.approx(whole, abs=1e-4)


def test_the_hold_out_says_how_often_good_play_is_what_the_model_would_do() -> None:
    """By hand: of complete episodes the better half of the steps, by what they went on to bring."""
    rows, plan = corridor(600), replace(PLAN, holdout_share=0.3, holdout_rows=600)
    training = run(learner(plan, rows))
    greedy = values(training).argmax(1)
    apart = [rows.where(rows.episodes == episode) for episode in _held_out_episodes(plan, rows)]
    found = [
        (float(np.dot(own.rewards[k:], SMALL.gamma ** np.arange(len(own) - k))), int(own.actions[k]), own.states[k])
        for own in apart
        if own.done.any()
        for k in range(len(own))
    ]
    median = np.median([returns for returns, _, _ in found])
    agreeing = [greedy[state.argmax()] == action for returns, action, state in found if returns >= median - 1e-6]
    assert training.metrics()["holdout_agreement"] == pytest.approx(np.mean(agreeing))
