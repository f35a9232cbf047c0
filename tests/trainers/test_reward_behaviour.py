"""For each archetype its reward weights change what a trained policy does, and in the direction they say.

One weight of each; `python -m tests.proofs.reward_behaviour` shows all of them.
"""

from __future__ import annotations

import pytest

from tests.proofs.reward_behaviour import effect

STEPS, SEEDS = 100_000, 3  # of one training alone, chance may outweigh the weight


@pytest.mark.slow
@pytest.mark.parametrize(
    ("archetype", "term"),
    [
        ("aggressive", "damage_dealt"),
        ("defensive", "damage_blocked"),
        ("support", "buffs_applied"),
        ("mage", "spell_damage"),
        ("tank", "damage_absorbed"),
        ("ranged", "sustained_damage"),
    ],
)
def test_more_weight_on_a_thing_brings_more_of_it(archetype: str, term: str) -> None:
    found = effect(archetype, term, STEPS, SEEDS)
    assert found.difference_low > 0, found
    assert found.high > 1.05 * found.low
