"""The paired test: does the candidate score more than the incumbent on the same games?

A bet on the candidate (Shafer and Vovk 2001; Waudby-Smith and Ramdas 2023, "Estimating means of bounded random
variables by betting"): a capital of 1 is staked, batch after batch, on the score difference s of a pair exceeding
m = `min_improvement`. Where it does not on average, the capital E is a non-negative supermartingale, and by Ville's
inequality (1939) it ever reaches 1/alpha with probability at most alpha, whenever and however often one looks.

The rejection is no such guarantee but economy: a generalised sequential likelihood ratio (Wald 1945, with the variance
estimated as the games go) between a gain of m and one of m + d_f. It may dismiss a good candidate with a chance of
about beta, and it can never promote one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.contract import Decision, Outcome, Reason, TestPlan
from supervisor.promotion.betting import bets, log_mean_exp
from supervisor.promotion.interval import confidence_interval

RULE = "paired_e"
EFFECTS = (0.02, 0.04, 0.08)  # d_j: each bet is tuned to grow fastest if the candidate is better by this much
LARGEST_LOG = 700.0  # exp of more does not fit a double
VARIANCE_SQUARES, VARIANCE_PAIRS = 5.0, 10.0  # of the rejection's variance: a half, worth ten pairs


@dataclass(frozen=True)
class TestState:
    """A test so far. A function of the pairs in their batches: the order within a batch changes nothing.

    a is the candidate's score, b the incumbent's, s = a - b.
    """

    n: int = 0
    S: float = 0.0  # sum of s
    Q: float = 0.0  # sum of s squared
    log_k: tuple[float, ...] = (0.0,) * len(EFFECTS)  # log capital of each bet
    sum_a: float = 0.0
    sum_b: float = 0.0
    sum_aa: float = 0.0
    sum_bb: float = 0.0
    sum_ab: float = 0.0
    batches: tuple[tuple[float, ...], ...] = ()  # every s, sorted within its batch, for the interval


def start() -> TestState:
    """A test of which no pair has been played."""
    return TestState()


def observe(plan: TestPlan, state: TestState, batch: Sequence[tuple[float, float]]) -> TestState:
    """The state after one more batch of (candidate score, incumbent score), scores in [0, 1].

    Raises ValueError for a batch of another size than `plan.batch_pairs` and for a score outside [0, 1].
    """
    if len(batch) != plan.batch_pairs:
        raise ValueError(f"a batch holds {plan.batch_pairs} pairs, not {len(batch)}")
    outside = [score for pair in batch for score in pair if not 0.0 <= score <= 1.0]
    if outside:
        raise ValueError(f"a score lies in [0, 1]; {outside[0]!r} does not")
    m = plan.min_improvement
    stakes = bets(EFFECTS, state.n, state.Q)
    differences = sorted(a - b for a, b in batch)
    return TestState(
        n=state.n + len(batch),
        S=state.S + math.fsum(differences),
        Q=state.Q + math.fsum(s * s for s in differences),
        log_k=tuple(
            log_k + math.fsum(math.log1p(stake * (s - m)) for s in differences)
            for log_k, stake in zip(state.log_k, stakes, strict=True)
        ),
        sum_a=state.sum_a + math.fsum(a for a, _ in batch),
        sum_b=state.sum_b + math.fsum(b for _, b in batch),
        sum_aa=state.sum_aa + math.fsum(a * a for a, _ in batch),
        sum_bb=state.sum_bb + math.fsum(b * b for _, b in batch),
        sum_ab=state.sum_ab + math.fsum(a * b for a, b in batch),
        batches=(*state.batches, tuple(differences)),
    )


def log_evidence(state: TestState) -> float:
    """log E: E is the mean capital of the bets."""
    return log_mean_exp(state.log_k)


def futility(plan: TestPlan, n: int, S: float, Q: float) -> float:
    """Log likelihood ratio of a gain of m + d_f against one of m after n pairs. The variance is always positive."""
    variance = (Q + VARIANCE_SQUARES) / (n + VARIANCE_PAIRS) - (S / (n + VARIANCE_PAIRS)) ** 2
    d_f = plan.futility_effect
    return d_f * (2 * (S - n * plan.min_improvement) - n * d_f) / (2 * variance)


def verdict(plan: TestPlan, state: TestState, elapsed_s: float | None = None) -> Decision | None:
    """The decision after the last batch, None while the test goes on. A proof is looked for first.

    `elapsed_s` is the time the pairs have taken; without it `plan.max_seconds` is not looked at.
    """
    stop = stopped(plan, state, elapsed_s)
    return None if stop is None else decision_at(plan, state, *stop)


def stopped(plan: TestPlan, state: TestState, elapsed_s: float | None = None) -> tuple[Outcome, Reason] | None:
    """How `verdict` would end the test, without the interval, which takes a tenth of a second after 3,000 pairs."""
    if state.n == 0:
        return None
    if log_evidence(state) >= math.log(plan.evidence_threshold):
        return Outcome.PROMOTE, Reason.PROVEN
    if futility(plan, state.n, state.S, state.Q) <= math.log(plan.beta / (1 - plan.alpha)):
        return Outcome.REJECT, Reason.FUTILE
    if state.n >= plan.max_pairs:
        return Outcome.INCONCLUSIVE, Reason.PAIRS_EXHAUSTED
    if elapsed_s is not None and plan.max_seconds is not None and elapsed_s >= plan.max_seconds:
        return Outcome.INCONCLUSIVE, Reason.TIME_EXHAUSTED
    return None


def decide(plan: TestPlan, pairs: Sequence[tuple[float, float]]) -> Decision | None:
    """The decision that a list of pairs leads to, None if they end before the test does.

    Pairs beyond the stopping point, and a last batch that is not full, do not count.
    """
    state = start()
    for first in range(0, len(pairs) - plan.batch_pairs + 1, plan.batch_pairs):
        state = observe(plan, state, pairs[first : first + plan.batch_pairs])
        decision = verdict(plan, state)
        if decision is not None:
            return decision
    return None


def correlation(state: TestState) -> float | None:
    """Correlation of the two sides' scores over the pairs; None where one side always scored the same."""
    n = state.n
    variance_a = n * state.sum_aa - state.sum_a**2
    variance_b = n * state.sum_bb - state.sum_b**2
    tiny = 1e-9 * n * n  # what rounding leaves of a variance of zero
    if variance_a <= tiny or variance_b <= tiny:
        return None
    covariance = n * state.sum_ab - state.sum_a * state.sum_b
    return max(-1.0, min(1.0, covariance / math.sqrt(variance_a * variance_b)))


def decision_at(plan: TestPlan, state: TestState, outcome: Outcome, reason: Reason) -> Decision:
    """The test as it stands, ended in this way."""
    low, high = confidence_interval(state.batches)
    return Decision(
        rule=RULE,
        outcome=outcome,
        reason=reason,
        alpha=1 / plan.evidence_threshold,
        n_pairs=state.n,
        e_value=math.exp(min(log_evidence(state), LARGEST_LOG)),
        effect=state.S / state.n,
        ci_low=low,
        ci_high=high,
        corr_hat=correlation(state),
    )
