"""The built-in model types that learn from recorded play: each resumes bit for bit, from arena to file."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from supervisor.contract import Params
from supervisor.experience.rows import Experiences
from tests.support.arena_trials import default_params
from tests.support.learner_conformance import LearnerConformance
from tests.support.recorded_play import blurred, now_and_then, pages_of, recorded
from trainers import weights
from trainers.algorithms.from_play.plan import Plan
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH, Arena
from trainers.arena.controls import PAD
from trainers.arena.skills import SLOTS, SkillArena, loadouts
from trainers.catalogue import CATALOGUE, model_type
from trainers.learner import Case, Exported, Learner, LearnsFromPlay
from trainers.parameters import fields, group

PLAN = Plan(
    old_rows=200,
    new_rows=400,
    gradient_steps=12,
    batch_size=16,
    gradient_accumulation_steps=2,
    memory_rows=512,
    holdout_share=0.3,
)
CASE = Case("mage", 1, {})
CHANGES: Params = {
    "dqn.hidden": "16,16",
    "dqn.dropout": 0.1,
    "dqn.target_interval": 40,
    "skills.embedding": 4,
    "sac.hidden": "16",
}


def args_of(name: str) -> Any:
    params = default_params(f"mage/{name}")
    changed = {**params, **{key: value for key, value in CHANGES.items() if key in params}}
    kind = model_type(name)
    return fields(kind.args, kind.names, {key: changed[key] for key in changed if key not in group(changed, "reward")})


@cache
def played(name: str) -> Experiences:
    """By one who always does the same, but for the exploration."""
    rows = 8
    if name == "soft_actor_critic":
        arena = Arena(rows, "mage", 1, control="pad")
        policy, explore = (lambda seen: np.zeros((rows, PAD), np.float32)), blurred(0.5)
    else:
        arena = SkillArena(rows, "mage", 1) if name == "skill_dqn" else Arena(rows, "mage", 1)
        choices = SLOTS if name == "skill_dqn" else ACTION_COUNT
        policy, explore = (lambda seen: np.ones(rows, np.int64)), now_and_then(0.5, choices)
    arena.start(np.arange(rows))
    return recorded(policy, arena, explore, 600, 1)


def from_play(name: str, seed: int, start: Any = None) -> Learner:
    kind = model_type(name)
    assert isinstance(kind, LearnsFromPlay)
    return kind.learner_from_play(CASE, args_of(name), PLAN, seed, start, pages_of(played(name)))


class FromPlayConformance(LearnerConformance):
    """What they have in common; hold-out, place and last look are the same for every seed."""

    idle_parts = frozenset({"holdout", "reading", "looked"})
    name = ""

    def make_learner(self, seed: int) -> Learner:
        return from_play(self.name, seed)

    def test_it_goes_on_from_what_the_search_hands_on_and_the_search_from_it(self) -> None:
        kind, args = model_type(self.name), args_of(self.name)
        search = kind.learner(CASE, args, 1, 1, None)
        training = from_play(self.name, 2, search.final())
        assert weights.pack(training.final()) == weights.pack(search.final())
        while not training.finished:
            training.advance()
        again = kind.learner(CASE, args, 1, 3, training.final())
        assert weights.pack(again.final()) == weights.pack(training.final())
        assert again.metrics()["warm_start"] == 1.0

    def test_its_figures_say_what_was_read_and_what_the_hold_out_shows(self) -> None:
        training = from_play(self.name, 1)
        while not training.finished:
            training.advance()
        found = training.metrics()
        assert (found["new_rows"], found["replayed_rows"], found["gradient_steps"]) == (400, 200, 12)
        assert found["holdout_rows"] > 0
        for name in ("td_error", "return_error", "agreement"):
            assert found[f"holdout_{name}"] != found[f"holdout_{name}_before"] or name == "agreement"


class TestCombat(FromPlayConformance):
    name = "combat_dqn"


class TestSkills(FromPlayConformance):
    name = "skill_dqn"

    def example(self, exported: Exported, rows: int) -> dict[str, np.ndarray]:
        state = np.random.default_rng(rows).random((rows, OBSERVATION_WIDTH), dtype=np.float32)
        return {"state": state, "skills": loadouts(np.arange(rows, dtype=np.uint64)).columns}


class TestPad(FromPlayConformance):
    name = "soft_actor_critic"


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_model_types_that_learn_from_play_are_those_that_learn_from_any_play(name: str) -> None:
    expected = name in {"combat_dqn", "skill_dqn", "soft_actor_critic"}
    assert isinstance(model_type(name), LearnsFromPlay) is expected
