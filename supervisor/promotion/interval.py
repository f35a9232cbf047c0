"""A 95 % confidence sequence for the mean score difference: it holds at every moment and at any stopping time.

The betting confidence sequence (Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by
betting"): for every gain mu, predictable bets are staked on "more than mu" and, mirrored, on "less than mu"; a gain
against which either capital has reached 2/alpha is excluded. By Ville's inequality (1939) the true gain is ever
excluded with probability at most alpha. The capital falls as mu moves towards the bet's side, so what remains is an
interval, found by bisection. Its bets are larger than the test's, which halves its width where the results are few or
lopsided and costs 5 % of it after thousands of pairs; so its lower end may lie below a gain that the test has proven.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from supervisor.promotion.betting import bets, log_mean_exp

ALPHA = 0.05
EFFECTS = (0.03, 0.06, 0.12, 0.24)
HALVINGS = 40  # of the range [-1, 1]

Batches = Sequence[Sequence[float]]
"""Score differences in [-1, 1], batch after batch; the bets on a batch know the batches before it."""


def confidence_interval(batches: Batches, alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper limit for the mean of the differences, within [-1, 1]; the observed mean lies between them.

    Results that drift can exclude every gain, or the observed one: the limits are then widened to hold the latter.
    """
    staked = _staked(batches)
    n = sum(len(batch) for batch in batches)
    mean = math.fsum(s for batch in batches for s in batch) / n if n else 0.0
    bound = math.log(2 / alpha)
    low = _limit(lambda mu: _log_capital(staked, mu, 1.0) >= bound)
    high = -_limit(lambda mu: _log_capital(staked, -mu, -1.0) >= bound)
    return min(low, mean), max(high, mean)


def _staked(batches: Batches) -> list[tuple[tuple[float, ...], dict[float, int]]]:
    """The bets on each batch, and how often each difference came in it."""
    staked = []
    n, Q = 0, 0.0
    for batch in batches:
        staked.append((bets(EFFECTS, n, Q), dict(sorted(Counter(batch).items()))))
        n += len(batch)
        Q += math.fsum(s * s for s in batch)
    return staked


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


def _log_capital(staked: list[tuple[tuple[float, ...], dict[float, int]]], mu: float, side: float) -> float:
    """Log of the mean capital of bets that the gain is more than mu (side 1) or less than mu (side -1)."""
    logs = [0.0] * len(EFFECTS)
    for stakes, counts in staked:
        for j, bet in enumerate(stakes):
            logs[j] += math.fsum(times * math.log1p(bet * side * (s - mu)) for s, times in counts.items())
    return log_mean_exp(logs)
