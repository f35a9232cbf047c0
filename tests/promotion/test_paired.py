"""The paired test, over the whole plane of results."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from supervisor.contract import Outcome, Reason, as_json, parse
from supervisor.contract import TestPlan as Plan  # pytest takes a name with Test for a test class
from supervisor.promotion import paired
from tests.benchmarks import paired_many

PLAN = Plan()
WIN, DRAW, LOSS = (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)
SCORES = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)
PAIRS = st.tuples(SCORES, SCORES)
SINGLES = replace(PLAN, batch_pairs=1, max_pairs=10**9)
NOTICED = settings(max_examples=60, deadline=None)


def _mixed(wins, draws, losses):
    """So many of each, spread as evenly as they go."""
    kinds = [(pair, times) for pair, times in ((WIN, wins), (DRAW, draws), (LOSS, losses)) if times]
    places = [((number + 0.5) / times, pair) for pair, times in kinds for number in range(times)]
    return [pair for _, pair in sorted(places)]


def _after(pairs, plan=PLAN):
    state = paired.start()
    for first in range(0, len(pairs), plan.batch_pairs):
        state = paired.observe(plan, state, pairs[first : first + plan.batch_pairs])
    return state


# What a better result may do


@pytest.mark.parametrize("order", ["mixed", "wins_first", "losses_first"])
def test_over_the_whole_plane_a_better_result_never_turns_promote_into_reject(order):
    """Every (wins, draws, losses) up to 20 pairs, against one more win and against a loss or draw made better."""
    plan = replace(SINGLES, evidence_threshold=1.6, beta=0.6, futility_effect=0.3)  # so that 20 pairs can decide
    orders = {
        "mixed": _mixed,
        "wins_first": lambda wins, draws, losses: [WIN] * wins + [DRAW] * draws + [LOSS] * losses,
        "losses_first": lambda wins, draws, losses: [LOSS] * losses + [DRAW] * draws + [WIN] * wins,
    }
    outcomes = {}
    for wins, draws, losses in itertools.product(range(21), repeat=3):
        if wins + draws + losses <= 20:
            decision = paired.decide(plan, orders[order](wins, draws, losses))
            outcomes[wins, draws, losses] = decision.outcome if decision else None
    better = {(1, 0, 0), (1, -1, 0), (1, 0, -1), (0, 1, -1)}
    for (wins, draws, losses), outcome in outcomes.items():
        for more_wins, more_draws, more_losses in better:
            improved = outcomes.get((wins + more_wins, draws + more_draws, losses + more_losses))
            assert not (outcome is Outcome.PROMOTE and improved is Outcome.REJECT), (wins, draws, losses)
    assert set(outcomes.values()) == {Outcome.PROMOTE, Outcome.REJECT, None}


@NOTICED
@given(st.lists(PAIRS, min_size=10, max_size=300), st.data())
def test_a_better_pair_anywhere_never_turns_promote_into_reject(pairs, data):
    plan = replace(PLAN, evidence_threshold=2.0)
    at = data.draw(st.integers(0, len(pairs) - 1))
    better = [*pairs[:at], WIN, *pairs[at + 1 :]]
    before, after = paired.decide(plan, pairs), paired.decide(plan, better)
    if before and after and before.outcome is Outcome.PROMOTE:
        assert after.outcome is not Outcome.REJECT


def test_the_reject_rule_knows_a_lopsided_result_over_the_whole_plane():
    """A variance that can go negative would reject the best candidates: it did in the first sketch of this rule."""
    for wins, draws, losses in itertools.product(range(0, 61, 3), repeat=3):
        n, S, Q = wins + draws + losses, wins - losses, wins + losses
        if n:
            ratio = paired.futility(PLAN, n, S, Q)
            assert (ratio > 0) == (2 * (S - n * PLAN.min_improvement) > n * PLAN.futility_effect)


@NOTICED
@given(
    st.integers(0, 3000),
    st.integers(0, 3000),
    st.integers(0, 3000),
    st.sampled_from([0.0, 0.001, 0.01]),
    st.sampled_from([0.01, 0.03, 0.1]),
)
def test_one_more_win_never_brings_a_rejection_nearer(wins, draws, losses, min_improvement, futility_effect):
    plan = replace(PLAN, min_improvement=min_improvement, futility_effect=futility_effect)
    n, S, Q = wins + draws + losses, wins - losses, wins + losses
    before = paired.futility(plan, n, S, Q)
    if before <= 0:
        assert paired.futility(plan, n + 1, S + 1, Q + 1) >= before
    else:
        assert paired.futility(plan, n + 1, S + 1, Q + 1) > 0


@NOTICED
@given(st.lists(PAIRS, min_size=10, max_size=10), st.lists(PAIRS, max_size=200), st.integers(0, 9))
def test_a_better_pair_in_the_last_batch_never_lowers_the_evidence(batch, earlier, at):
    state = _after(earlier[: len(earlier) // 10 * 10])
    better = [*batch[:at], WIN, *batch[at + 1 :]]
    evidence = paired.log_evidence(paired.observe(PLAN, state, batch))
    assert paired.log_evidence(paired.observe(PLAN, state, better)) >= evidence


@pytest.mark.parametrize("batch_pairs", [1, 7, 10, 50])
def test_a_candidate_that_wins_every_pair_is_promoted(batch_pairs):
    plan = replace(PLAN, batch_pairs=batch_pairs)
    decision = paired.decide(plan, [WIN] * 200)
    assert decision is not None
    assert (decision.outcome, decision.reason) == (Outcome.PROMOTE, Reason.PROVEN)
    assert decision.n_pairs <= 100
    assert decision.ci_low is not None
    assert decision.ci_low > 0


@pytest.mark.parametrize("losses", [0, 1, 20])
def test_a_candidate_that_never_loses_is_never_rejected_while_it_wins(losses):
    pairs = _mixed(wins=200, draws=0, losses=losses)
    decision = paired.decide(PLAN, pairs)
    assert decision is not None
    assert decision.outcome is Outcome.PROMOTE


def test_a_candidate_that_loses_every_pair_is_rejected():
    decision = paired.decide(PLAN, [LOSS] * 500)
    assert decision is not None
    assert (decision.outcome, decision.reason) == (Outcome.REJECT, Reason.FUTILE)


def test_a_candidate_that_draws_every_pair_is_never_promoted():
    decision = paired.decide(PLAN, [DRAW] * 4000)
    assert decision is not None
    assert decision.outcome is not Outcome.PROMOTE


# The error


def _null_paths(plan, length, chances):
    """Every path of `length` pairs with its probability under a mean difference of exactly min_improvement or less."""
    for path in itertools.product(((WIN, chances[0]), (DRAW, chances[1]), (LOSS, chances[2])), repeat=length):
        yield [pair for pair, _ in path], math.prod(chance for _, chance in path)


@pytest.mark.parametrize("up", [0.05, 0.3, 0.5])
def test_the_evidence_of_an_equal_candidate_is_worth_one_exactly(up):
    """All 3^7 paths at the edge of the hypothesis: the mean capital neither grows nor shrinks."""
    plan = replace(SINGLES, min_improvement=0.01, evidence_threshold=1e300, beta=1e-300)
    chances = (up, 1 - 2 * up + 0.01, up - 0.01)
    total = math.fsum(
        chance * math.exp(paired.log_evidence(_after(path, plan))) for path, chance in _null_paths(plan, 7, chances)
    )
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("threshold", [1.1, 1.25, 1.5])
def test_the_chance_that_an_equal_candidate_ever_reaches_the_threshold_is_below_its_inverse(threshold):
    """All 3^8 paths, looked at after every pair. Ville's inequality, counted out."""
    plan = replace(SINGLES, min_improvement=0.0, evidence_threshold=threshold, beta=1e-300)
    promoted = 0.0
    for path, chance in _null_paths(plan, 8, (0.4, 0.2, 0.4)):
        decision = paired.decide(plan, path)
        promoted += chance * (decision is not None and decision.outcome is Outcome.PROMOTE)
    assert 0 < promoted <= 1 / threshold


def _share_promoted(chances, contests, plan=PLAN):
    rng = np.random.default_rng(20261121)

    def play(alive, batches):
        return rng.multinomial(plan.batch_pairs, chances, size=(len(alive), batches))

    thresholds = np.full(contests, plan.evidence_threshold)
    verdicts = paired_many.decide_many(plan, thresholds, np.array([1.0, 0.0, -1.0]), play)
    return int((verdicts.outcome == paired_many.PROMOTE).sum())


@pytest.mark.parametrize("up", [0.03, 0.175, 0.25, 0.5])
def test_equal_candidates_are_promoted_in_at_most_alpha_of_their_tests(up):
    """4000 tests; fails if the share is above alpha beyond doubt or not below it with confidence .999."""
    contests = 4000
    promoted = _share_promoted((up, 1 - 2 * up, up), contests)
    assert beta.ppf(0.999, promoted + 1, contests - promoted) <= PLAN.alpha + 0.005
    assert promoted / contests <= PLAN.alpha


def test_five_points_are_found_nearly_always():
    """Correlation .3 at 47 % against 52 %: a win or loss in 35 % of pairs."""
    covariance = 0.3 * math.sqrt(0.52 * 0.48 * 0.47 * 0.53)
    both = 0.52 * 0.47 + covariance
    promoted = _share_promoted((0.52 - both, 1 - 0.52 - 0.47 + 2 * both, 0.47 - both), 2000)
    assert promoted / 2000 >= 0.95


# Order, boundaries, resume


@NOTICED
@given(st.lists(PAIRS, min_size=10, max_size=120), st.randoms(use_true_random=False))
def test_the_order_within_a_batch_changes_nothing(pairs, random):
    whole = len(pairs) // 10 * 10
    shuffled = []
    for first in range(0, whole, 10):
        batch = pairs[first : first + 10]
        random.shuffle(batch)
        shuffled += batch
    assert _after(shuffled) == _after(pairs[:whole])
    assert paired.decide(PLAN, shuffled) == paired.decide(PLAN, pairs[:whole])


@NOTICED
@given(st.lists(PAIRS, min_size=10, max_size=200), st.data())
def test_killed_and_resumed_at_any_batch_the_test_ends_the_same(pairs, data):
    """Through the bytes of a file, at as many places as there are batches."""
    batches = [pairs[first : first + 10] for first in range(0, len(pairs) - 9, 10)]
    state, resumed = paired.start(), paired.start()
    for batch in batches:
        state = paired.observe(PLAN, state, batch)
        if data.draw(st.booleans()):
            resumed = parse(paired.TestState, json.loads(json.dumps(as_json(resumed))))
        resumed = paired.observe(PLAN, resumed, batch)
        assert resumed == state
    assert paired.verdict(PLAN, resumed) == paired.verdict(PLAN, state)


@NOTICED
@given(st.lists(PAIRS, max_size=400), st.lists(PAIRS, max_size=40))
def test_pairs_beyond_the_stopping_point_change_nothing(pairs, more):
    decision = paired.decide(replace(PLAN, evidence_threshold=3.0), pairs)
    if decision is not None:
        assert paired.decide(replace(PLAN, evidence_threshold=3.0), pairs + more) == decision


def test_a_last_batch_that_is_not_full_does_not_count():
    assert paired.decide(PLAN, [WIN] * 9) is None
    full = paired.decide(PLAN, [WIN] * 60)
    assert full is not None
    assert full == paired.decide(PLAN, [WIN] * full.n_pairs) == paired.decide(PLAN, [WIN] * (full.n_pairs + 9))
    assert paired.decide(PLAN, [WIN] * (full.n_pairs - 1)) is None


# Ends of the test


def test_no_verdict_is_given_before_the_first_pair():
    assert paired.verdict(PLAN, paired.start(), elapsed_s=10**9) is None


def test_without_a_verdict_the_test_ends_at_the_largest_number_of_pairs():
    plan = replace(PLAN, max_pairs=45)
    decision = paired.decide(plan, _mixed(26, 10, 24))
    assert decision is not None
    assert (decision.outcome, decision.reason) == (Outcome.INCONCLUSIVE, Reason.PAIRS_EXHAUSTED)
    assert decision.n_pairs == 50  # whole batches


def test_without_a_verdict_the_test_ends_when_its_time_is_over():
    plan = replace(PLAN, max_seconds=30.0)
    state = _after(_mixed(5, 0, 5))
    assert paired.verdict(plan, state, elapsed_s=29.9) is None
    assert paired.verdict(plan, state) is None
    decision = paired.verdict(plan, state, elapsed_s=30.0)
    assert decision is not None
    assert (decision.outcome, decision.reason) == (Outcome.INCONCLUSIVE, Reason.TIME_EXHAUSTED)


def test_a_proof_counts_even_at_the_last_pair_and_the_last_second():
    plan = replace(PLAN, max_pairs=50, max_seconds=1.0)
    decision = paired.verdict(plan, _after([WIN] * 50, plan), elapsed_s=5.0)
    assert decision is not None
    assert decision.reason is Reason.PROVEN


def test_overwhelming_evidence_is_still_a_number_that_json_can_hold():
    decision = paired.decide(replace(PLAN, batch_pairs=10_000), [WIN] * 10_000)
    assert decision is not None
    assert decision.e_value == math.exp(paired.LARGEST_LOG)


# What the decision says


def test_the_decision_carries_the_numbers_of_the_test():
    pairs = [(1.0, 0.0)] * 12 + [(1.0, 1.0)] * 20 + [(0.0, 0.0)] * 20 + [(0.0, 1.0)] * 8
    decision = paired.verdict(replace(PLAN, max_pairs=60, evidence_threshold=400.0), _after(pairs))
    assert decision is not None
    assert decision.rule == "paired_e"
    assert decision.alpha == 1 / 400
    assert decision.n_pairs == 60
    assert decision.effect == pytest.approx(4 / 60)
    scores = np.array(pairs)
    assert decision.corr_hat == pytest.approx(float(np.corrcoef(scores.T)[0, 1]))


@pytest.mark.parametrize("pairs", [[WIN] * 10, [DRAW] * 10, [(0.3, 0.1), (0.3, 0.7)] * 5])
def test_a_side_that_always_scores_the_same_has_no_correlation(pairs):
    assert paired.correlation(_after(pairs)) is None


@NOTICED
@given(st.lists(PAIRS, min_size=10, max_size=60))
def test_a_correlation_is_a_correlation(pairs):
    value = paired.correlation(_after(pairs[: len(pairs) // 10 * 10]))
    assert value is None or -1 <= value <= 1


# Wrong input


def test_a_batch_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="10 pairs, not 9"):
        paired.observe(PLAN, paired.start(), [WIN] * 9)


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan, math.inf])
def test_a_score_outside_its_range_is_refused(score):
    with pytest.raises(ValueError, match="lies in"):
        paired.observe(PLAN, paired.start(), [WIN] * 9 + [(score, 0.0)])
