from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.promotion.difference import paired_interval

SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=60)


@given(SCORES, st.randoms())
def test_the_interval_holds_the_mean_and_swapping_the_sides_mirrors_it(ours, random) -> None:
    theirs = [random.choice([0.0, 0.5, 1.0]) for _ in ours]
    mean, low, high = paired_interval(ours, theirs)
    assert low <= mean <= high
    assert paired_interval(theirs, ours) == pytest.approx((-mean, -high, -low))
    assert mean == pytest.approx(sum(ours) / len(ours) - sum(theirs) / len(theirs))


def test_it_misses_the_true_difference_in_about_one_of_twenty_measurements() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(1000):
        ours, theirs = rng.random(400) < 0.55, rng.random(400) < 0.5
        _, low, high = paired_interval(ours.astype(float).tolist(), theirs.astype(float).tolist())
        missed += not low <= 0.05 <= high
    assert 30 <= missed <= 70


def test_pairs_of_equal_scores_leave_room_for_doubt() -> None:
    mean, low, high = paired_interval([1.0] * 100, [0.0] * 100)
    assert (mean, high) == (1.0, 1.0)
    assert 0.95 < low < 1.0


@pytest.mark.parametrize("scores", [[], [1.0]])
def test_fewer_than_two_pairs_say_nothing(scores) -> None:
    assert paired_interval(scores, scores)[1:] == (-1.0, 1.0)


def test_sides_of_other_lengths_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        paired_interval([1.0, 0.0], [1.0])
