from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.algorithms.contrastive import centroid_accuracy
from trainers.arena.rewards import effective_weights
from trainers.arena.sparring import Situations, situations
from trainers.arena.stats import ARCHETYPES
from trainers.arena.styles import STYLES

TICKS = 12
FOE_HEALTH, OWN_HEALTH = 17, 0


def drawn(archetype: str, seeds: np.ndarray, reserve: float = 0.5) -> Situations:
    weights = effective_weights(archetype, {})
    return situations(archetype, 3, reserve, weights, np.asarray(seeds, np.uint64), TICKS)


@settings(max_examples=5, deadline=None)
@given(
    archetype=st.sampled_from(sorted(ARCHETYPES)),
    seeds=st.lists(st.integers(0, 2**53), min_size=2, max_size=3, unique=True),
)
def test_a_situation_depends_on_its_seed_alone(archetype: str, seeds: list[int]) -> None:
    together = drawn(archetype, np.array(seeds))
    for number, seed in enumerate(seeds):
        alone = drawn(archetype, np.array([seed]))
        np.testing.assert_array_equal(alone.windows[0], together.windows[number])
        assert alone.style[0] == together.style[number]
        assert alone.returns[0] == together.returns[number]


@pytest.mark.parametrize("archetype", sorted(ARCHETYPES))
def test_nobody_falls_before_a_window_ends_and_all_styles_are_about_as_common(archetype: str) -> None:
    found = drawn(archetype, np.arange(4096))
    assert (found.windows[:, :, [OWN_HEALTH, FOE_HEALTH]] > 0).all()
    share = np.bincount(found.style, minlength=len(STYLES)) / len(found.style)
    assert np.abs(share - 1 / len(STYLES)).max() < 0.025


def test_one_look_tells_little_and_the_whole_window_more() -> None:
    """Nothing that a fighter is gives its style away, only what it does: one tick is far from the mean of twelve."""
    known, asked = drawn("mage", np.arange(4096)), drawn("mage", np.arange(10**6, 10**6 + 2048))
    first = [Situations(found.windows[:, :1], found.style, found.returns) for found in (known, asked)]
    assert centroid_accuracy(*first, len(STYLES)) < 0.3 < centroid_accuracy(known, asked, len(STYLES))


def test_the_more_a_foe_keeps_its_style_to_itself_the_less_it_is_recognised() -> None:
    rates = []
    for reserve in (0.0, 8.0):
        known, asked = (drawn("tank", np.arange(first, first + 2048), reserve) for first in (0, 10**6))
        rates.append(centroid_accuracy(known, asked, len(STYLES)))
    assert rates[0] > rates[1] + 0.2
