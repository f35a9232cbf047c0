"""An interval for a win rate that was measured once, over a number of games fixed beforehand."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson_interval(score: float, games: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of Wilson (1927, "Probable inference, the law of succession, and statistical inference").

    `score` counts draws as halves. (0, 1) where nothing was played.
    """
    if games == 0:
        return 0.0, 1.0
    rate = score / games
    centre = rate + z * z / (2 * games)
    half = z * math.sqrt(rate * (1 - rate) / games + z * z / (4 * games * games))
    scale = 1 + z * z / games
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
