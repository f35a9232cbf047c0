"""The committed levels of the transformers: what was measured when they were made."""

from __future__ import annotations

import pytest

from trainers.arena import levels
from trainers.arena.stats import ARCHETYPES

everyone = pytest.mark.parametrize("archetype", sorted(ARCHETYPES))


@everyone
@pytest.mark.parametrize("model_type", ["pattern_recognition", "spatial_vit", "temporal_transformer"])
def test_levels_rise_and_the_default_finds_the_start_level_hard_but_not_hopeless(
    model_type: str, archetype: str
) -> None:
    row = levels.calibrations(model_type)[archetype]
    assert len(row.strength) == levels.LEVELS
    assert list(row.strength) == sorted(row.strength)
    assert 0.3 <= row.measured["default_start"] <= 0.7
    assert row.measured["untrained_level_1"] <= 0.2 < 0.3 <= row.measured["default_start"]


@everyone
def test_recognition_beats_its_baseline_by_more_than_chance_explains(archetype: str) -> None:
    measured = levels.calibrations("pattern_recognition")[archetype].measured
    for level in ("level_1", "start"):
        assert measured[f"default_{level}"] > measured[f"baseline_{level}"] + 0.06  # two intervals of 1,024 situations
