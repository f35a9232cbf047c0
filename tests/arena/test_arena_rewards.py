"""Rewards: the founding document's weights by default, every term real, weights that do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from supervisor.search.definitions import BUILT_IN, load_definitions
from tests.support.arena_play import actions_of, play
from trainers.arena.arena import Arena
from trainers.arena.rewards import TERMS, default_parameters, effective_weights
from trainers.arena.stats import ALLIED, ARCHETYPES

every_term = pytest.mark.parametrize(
    ("archetype", "term"), [(archetype, term) for archetype, terms in sorted(TERMS.items()) for term in terms]
)


@every_term
def test_every_term_is_met_in_play(archetype: str, term: str) -> None:
    """A term that never pays would be a parameter that a search tunes for nothing."""
    seeds = np.arange(256, dtype=np.uint64)
    paid = 0.0
    for strength in (0.3, 1.5):  # a foe to beat, and one to fall to
        arena = Arena(256, archetype, 1, {term: 1.0}, strength=strength)
        paid += sum(float(np.abs(step.reward).sum()) for step in play(arena, seeds, 101))
    assert paid > 0


@every_term
def test_a_term_counts_in_proportion_to_its_weight(archetype: str, term: str) -> None:
    seeds = np.arange(64, dtype=np.uint64)
    once = play(Arena(64, archetype, 2, {term: 1.0}), seeds, 60)
    twice = play(Arena(64, archetype, 2, {term: -2.0}), seeds, 60)
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(b.reward, -2 * a.reward)
        assert a.observation.tobytes() == b.observation.tobytes(), "a reward must not change the fight"


def test_the_reward_is_the_sum_of_its_terms() -> None:
    seeds = np.arange(64, dtype=np.uint64)
    weights = effective_weights("mage", {})
    together = play(Arena(64, "mage", 1, weights), seeds, 80)
    apart = [play(Arena(64, "mage", 1, {term: weight}), seeds, 80) for term, weight in weights.items()]
    for tick, step in enumerate(together):
        np.testing.assert_allclose(step.reward, sum(run[tick].reward for run in apart), rtol=1e-5, atol=1e-6)


def test_default_weights_are_those_of_the_founding_document() -> None:
    assert default_parameters("aggressive") == {
        "reward.damage_dealt": 2.0,
        "reward.kills": 100.0,
        "reward.damage_taken": -0.5,
        "reward.deaths": -50.0,
        "reward.scale": 1.5,
    }
    tank = default_parameters("tank")
    assert (tank["reward.team_weight"], tank["reward.individual_weight"]) == (0.7, 0.3)
    assert effective_weights("tank", {})["allies_died"] == pytest.approx(-80 * 0.7 / 100)
    assert effective_weights("tank", {})["survival"] == pytest.approx(150 * 0.3 / 100)


@pytest.mark.parametrize("archetype", sorted(ARCHETYPES))
def test_the_search_space_and_the_arena_name_the_same_rewards_with_the_same_defaults(archetype: str) -> None:
    defaults = load_definitions([BUILT_IN], [f"{archetype}/combat_dqn"], "small")[f"{archetype}/combat_dqn"].defaults()
    rewards = {name: value for name, value in defaults.items() if name.startswith("reward.")}
    assert rewards == default_parameters(archetype)


def test_rewards_that_do_not_exist_are_all_named() -> None:
    with pytest.raises(ValueError, match=r"reward.fame: mage has no such reward; reward.luck: .*; reward.kills: 'x'"):
        effective_weights("mage", {"reward.luck": 1.0, "reward.kills": "x", "reward.fame": 2.0})


def test_weights_of_other_groups_are_passed_over() -> None:
    assert effective_weights("mage", {"dqn.gamma": 0.9, "reward.kills": 50})["kills"] == pytest.approx(0.5)


def test_only_archetypes_with_a_companion_have_rewards_about_allies() -> None:
    about_allies = {"allies_protected", "allies_died", "aggro_count", "effective_healing"}
    for archetype, terms in TERMS.items():
        assert bool(about_allies & set(terms)) == (archetype in ALLIED)


def test_a_win_pays_the_time_it_spared() -> None:
    """Else a fighter that is paid for surviving would be paid for sparing its foe."""
    seeds = np.arange(128, dtype=np.uint64)
    arena = Arena(128, "defensive", 1, {"survival_time": 1.0}, reopen=False, strength=0.5)
    paid, score = np.zeros(128), np.full(128, -1.0)
    arena.start(seeds)
    for tick in range(100):
        step = arena.step(actions_of(seeds, tick))
        paid += step.reward
        score[step.done] = step.score[step.done]
    won = score == 1
    assert won.any()
    assert (paid[won] == 100).all()
