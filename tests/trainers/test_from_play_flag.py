"""The search spaces say of a model type that it learns from play if, and only if, its trainer can."""

from __future__ import annotations

import pytest

from supervisor.search.definitions import BUILT_IN, load_definitions
from trainers.catalogue import CATALOGUE, model_type
from trainers.learner import LearnsFromPlay

DEFINITIONS = load_definitions([BUILT_IN], ["mage/*"], "small")


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_what_learns_from_play_is_marked_so(name):
    assert DEFINITIONS[f"mage/{name}"].from_play == isinstance(model_type(name), LearnsFromPlay)


def test_some_do():
    assert {name for name in CATALOGUE if DEFINITIONS[f"mage/{name}"].from_play} >= {"combat_dqn", "skill_dqn"}
