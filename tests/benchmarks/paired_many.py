"""The paired test over many contests at once: supervisor.promotion.paired on arrays, as simulations play millions.

tests/promotion/test_paired_many.py holds it equal to the real one, step for step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supervisor.contract import TestPlan
from supervisor.promotion import paired
from supervisor.promotion.betting import LARGEST_BET, PRIOR_PAIRS, PRIOR_SQUARES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

REJECT, PROMOTE, INCONCLUSIVE, GOING_ON = 0, 1, 2, 3
CHUNK_BATCHES = 30  # batches looked at together; those after a verdict are thrown away

Play = Callable[[Ints, int], Ints]
"""(contests, batches) -> how often each difference came, int64 [contests, batches, values]; sums to batch_pairs."""


@dataclass(frozen=True)
class Trace:
    """Every batch of a chunk; arrays [contests, batches]."""

    n: Ints
    S: Floats
    Q: Floats
    log_k: Floats  # [contests, batches, bets]
    log_e: Floats
    outcome: Ints  # REJECT | PROMOTE | INCONCLUSIVE | GOING_ON, as if the test were still going on at that batch


@dataclass
class Contests:
    """Sums of contests that are going on; arrays [contests]."""

    n: Ints
    S: Floats
    Q: Floats
    log_k: Floats  # [contests, bets]

    @staticmethod
    def start(contests: int) -> Contests:
        zeros = np.zeros(contests)
        return Contests(np.zeros(contests, np.int64), zeros, zeros.copy(), np.zeros((contests, len(paired.EFFECTS))))

    def select(self, keep: Flags) -> Contests:
        return Contests(self.n[keep], self.S[keep], self.Q[keep], self.log_k[keep])


def advance(plan: TestPlan, thresholds: Floats, before: Contests, counts: Ints, values: Floats) -> Trace:
    """The contests after each of a chunk's batches. `thresholds` [contests]: evidence that promotes."""
    batches = counts.shape[1]
    n = before.n[:, None] + plan.batch_pairs * np.arange(1, batches + 1)
    S = before.S[:, None] + np.cumsum(counts @ values, axis=1)
    Q = before.Q[:, None] + np.cumsum(counts @ values**2, axis=1)
    Q_before = np.concatenate([before.Q[:, None], Q[:, :-1]], axis=1)
    q = (Q_before + PRIOR_SQUARES) / (n - plan.batch_pairs + PRIOR_PAIRS)
    stakes = np.minimum(LARGEST_BET, np.array(paired.EFFECTS) / q[..., None])
    gains = np.zeros_like(stakes)
    for number, value in enumerate(values):
        gains += counts[..., number, None] * np.log1p(stakes * (value - plan.min_improvement))
    log_k = before.log_k[:, None, :] + np.cumsum(gains, axis=1)
    largest = log_k.max(axis=2)
    log_e = largest + np.log(np.exp(log_k - largest[..., None]).mean(axis=2))
    return Trace(n, S, Q, log_k, log_e, _outcomes(plan, thresholds, n, S, Q, log_e))


def _outcomes(plan: TestPlan, thresholds: Floats, n: Ints, S: Floats, Q: Floats, log_e: Floats) -> Ints:
    pairs = n + paired.VARIANCE_PAIRS
    variance = (Q + paired.VARIANCE_SQUARES) / pairs - (S / pairs) ** 2
    d_f = plan.futility_effect
    ratio = d_f * (2 * (S - n * plan.min_improvement) - n * d_f) / (2 * variance)
    outcome = np.where(n >= plan.max_pairs, INCONCLUSIVE, GOING_ON)
    outcome = np.where(ratio <= np.log(plan.beta / (1 - plan.alpha)), REJECT, outcome)
    return np.where(log_e >= np.log(thresholds)[:, None], PROMOTE, outcome)


@dataclass(frozen=True)
class Verdicts:
    """How the contests ended; arrays [contests]."""

    outcome: Ints
    n: Ints
    S: Floats


def decide_many(plan: TestPlan, thresholds: Floats, values: Floats, play: Play) -> Verdicts:
    """Play every contest to its verdict."""
    contests = len(thresholds)
    result = Verdicts(np.full(contests, GOING_ON), np.zeros(contests, np.int64), np.zeros(contests))
    alive = np.arange(contests)
    sums = Contests.start(contests)
    while len(alive):
        trace = advance(plan, thresholds[alive], sums, play(alive, CHUNK_BATCHES), values)
        ended = trace.outcome != GOING_ON
        over = ended.any(axis=1)
        at = np.where(over, ended.argmax(axis=1), CHUNK_BATCHES - 1)
        rows = np.arange(len(alive))
        result.outcome[alive] = trace.outcome[rows, at]
        result.n[alive] = trace.n[rows, at]
        result.S[alive] = trace.S[rows, at]
        last = Contests(trace.n[:, -1], trace.S[:, -1], trace.Q[:, -1], trace.log_k[:, -1])
        sums, alive = last.select(~over), alive[~over]
    return result
