"""A 95 % confidence sequence for the mean score difference: at every moment, and at any stopping time, it holds.

The paired test turned round (Waudby-Smith and Ramdas 2023, section 4: the betting confidence sequence). For every gain
mu the same predictable bets are staked on "more than mu" and, mirrored, on "less than mu"; a gain against which either
capital reached 2/alpha is excluded. By Ville's inequality (1939) the true gain is ever excluded with probability at
most alpha. The capital falls as mu moves towards the bet's side, so what remains is an interval, found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALPHA = 0.05
HALVINGS = 40  # of the range [-1, 1]: far below what a double of the sums can tell


@dataclass(frozen=True)
class Batch:
    """Score differences in [-1, 1] and the bets, at most a half, that were fixed before they were played."""

    bets: tuple[float, ...]
    differences: tuple[float, ...]


def log_mean_exp(logs: Sequence[float]) -> float:
    """log of the mean of exp(logs), without overflow."""
    largest = max(logs)
    if largest == -math.inf:
        return largest
    return largest + math.log(math.fsum(math.exp(log - largest) for log in logs) / len(logs))


def confidence_interval(batches: Sequence[Batch], alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper limit for the mean of the differences, within [-1, 1]; the wider side of each last halving."""
    bound = math.log(2 / alpha)
    low = _limit(lambda mu: _log_capital(batches, mu, 1.0) >= bound)
    high = -_limit(lambda mu: _log_capital(batches, -mu, -1.0) >= bound)
    return low, high


def _limit(excluded: Callable[[float], bool]) -> float:
    """The largest excluded value of [-1, 1], from below; -1 where nothing is excluded."""
    if not excluded(-1.0):
        return -1.0
    inside, outside = 1.0, -1.0
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_capital(batches: Sequence[Batch], mu: float, side: float) -> float:
    """Log of the mean capital of bets that the gain is more than mu (side 1) or less than mu (side -1)."""
    logs = [0.0] * (len(batches[0].bets) if batches else 1)
    for batch in batches:
        for j, bet in enumerate(batch.bets):
            logs[j] += math.fsum(_log_factor(bet * side * (s - mu)) for s in batch.differences)
    return log_mean_exp(logs)


def _log_factor(gain: float) -> float:
    return math.log1p(gain) if gain > -1.0 else -math.inf
