"""An interval for the mean of paired differences that were measured once, over a number of pairs fixed beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from supervisor.promotion.wilson import Z_95


def paired_interval(ours: Sequence[float], theirs: Sequence[float], z: float = Z_95) -> tuple[float, float, float]:
    """Mean of the differences, and the limits of its interval by the central limit theorem.

    Of fewer than two pairs nothing is known: the limits are then -1 and 1. Differences that are all the same would
    give an interval without width, so one further pair without a difference is assumed for the variance.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    n = len(differences)
    if n < 2:
        return (differences[0] if differences else 0.0), -1.0, 1.0
    mean = math.fsum(differences) / n
    squares = math.fsum((d - mean) ** 2 for d in differences) + mean * mean
    half = z * math.sqrt(squares / (n * n))
    return mean, max(-1.0, mean - half), min(1.0, mean + half)
