"""What the paired test and its interval share: how much is staked, and how several stakes are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence

LARGEST_BET = 0.5  # keeps 1 + bet * (s - m) positive for every s and m in (-1, 1)
PRIOR_SQUARES, PRIOR_PAIRS = 2.5, 5.0  # of the mean square: a half, worth five pairs


def bets(effects: Sequence[float], n: int, Q: float) -> tuple[float, ...]:
    """One bet per effect for the batch after n pairs whose squared differences add up to Q.

    A stake of (mean - m) / (mean square) makes the capital grow about fastest (Kelly 1956), so each bet suits one
    effect. They are predictable: they know nothing of the batch itself.
    """
    q = (Q + PRIOR_SQUARES) / (n + PRIOR_PAIRS)
    return tuple(min(LARGEST_BET, effect / q) for effect in effects)


def log_mean_exp(logs: Sequence[float]) -> float:
    """log of the mean of exp(logs), without overflow."""
    largest = max(logs)
    if largest == -math.inf:
        return largest
    return largest + math.log(math.fsum(math.exp(log - largest) for log in logs) / len(logs))
