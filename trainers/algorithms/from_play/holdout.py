"""Which episodes are kept apart, to measure on them what was learnt from the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences
from trainers.algorithms.from_play.memory import UNKNOWN

_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def held_out(rows: Experiences, share: float) -> NDArray[np.bool_]:
    """(rows,): a fixed function of the episode's number, so that an episode is on one side for good.

    Rows of an unknown episode go by their time: those of one moment are on one side.
    """
    named = np.where(rows.episodes == UNKNOWN, rows.times, rows.episodes)
    chosen: NDArray[np.bool_] = (_mixed(named) >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
    return chosen


def _mixed(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele et al. 2014): whole numbers of 64 bits, each to another."""
    z: NDArray[np.uint64] = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in _STEPS:
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31))
