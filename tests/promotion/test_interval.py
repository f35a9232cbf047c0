"""The confidence sequence for the gain."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from supervisor.promotion.interval import ALPHA, confidence_interval

DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]) | st.floats(-1, 1), max_size=120)


def _batched(differences, size=10):
    return [tuple(differences[first : first + size]) for first in range(0, len(differences), size)]


@settings(max_examples=60, deadline=None)
@given(DIFFERENCES)
def test_the_interval_holds_the_observed_mean_and_stays_in_range(differences):
    low, high = confidence_interval(_batched(differences))
    mean = math.fsum(differences) / len(differences) if differences else 0.0
    assert -1 <= low <= mean <= high <= 1


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_results_that_drift_leave_the_observed_mean_in_the_interval(side):
    """The large bets of quiet games know nothing of the losses to come, and exclude even the mean."""
    low, high = confidence_interval(_batched([0.0] * 200 + [side] * 200))
    assert low <= side / 2 <= high
    assert side / 2 in (low, high)  # the case at hand: one limit was moved to it


@settings(max_examples=40, deadline=None)
@given(DIFFERENCES)
def test_with_the_sides_exchanged_the_interval_is_mirrored(differences):
    low, high = confidence_interval(_batched(differences))
    assert confidence_interval(_batched([-s for s in differences])) == pytest.approx((-high, -low), abs=1e-9)


def test_without_games_nothing_is_known():
    assert confidence_interval([]) == (-1.0, 1.0)


def test_the_true_gain_is_excluded_at_any_time_with_at_most_alpha_counted_out():
    """All 3^6 paths, looked at after every pair, with an alpha so large that six pairs can exclude the truth."""
    alpha = 0.9
    chances = {1.0: 0.15, 0.0: 0.5, -1.0: 0.35}
    truth = 0.15 - 0.35
    excluded = 0.0

    def walk(path, chance):
        nonlocal excluded
        low, high = confidence_interval([(s,) for s in path], alpha)
        if not low <= truth <= high:
            excluded += chance
            return
        if len(path) < 6:
            for s, p in chances.items():
                walk((*path, s), chance * p)

    walk((), 1.0)
    assert 0 < excluded <= alpha


@pytest.mark.parametrize(("up", "down"), [(0.2, 0.15), (0.5, 0.5), (0.02, 0.0)])
def test_the_true_gain_is_excluded_in_at_most_alpha_of_runs_looked_at_again_and_again(up, down):
    rng = np.random.default_rng(5)
    runs, missed = 40, 0
    for _ in range(runs):
        differences = rng.choice([1.0, 0.0, -1.0], p=(up, 1 - up - down, down), size=400).tolist()
        looks = (confidence_interval(_batched(differences[:n])) for n in (20, 50, 100, 200, 400))
        missed += any(not low <= up - down <= high for low, high in looks)
    assert beta.cdf(ALPHA, missed + 1, runs - missed) > 0.001  # a true share of alpha would rarely miss so often


def test_the_interval_narrows_as_pairs_are_played():
    rng = np.random.default_rng(1)
    differences = rng.choice([1.0, 0.0, -1.0], p=(0.2, 0.65, 0.15), size=3000).tolist()
    widths = []
    for n in (50, 200, 800, 3000):
        low, high = confidence_interval(_batched(differences[:n]))
        widths.append(high - low)
    assert all(later < 0.7 * earlier for earlier, later in itertools.pairwise(widths))
    assert widths[-1] < 0.075
