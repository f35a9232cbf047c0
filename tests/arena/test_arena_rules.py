"""The rules of a fight, each shown on a fight set up for it."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.arena import rules
from trainers.arena.combat import play_tick
from trainers.arena.fights import BUFFED, GUARD, HEALTH, MANA, STUN, WINDUP, Fights, Sides, X, Y
from trainers.arena.geometry import measure
from trainers.arena.rewards import Events
from trainers.arena.rules import (
    ALLY,
    BASH,
    BLOCK,
    BUFF,
    DASH,
    FOE,
    HEAL,
    HEAVY,
    LEARNER,
    SHOT,
    SPELL,
    STRIKE,
    WAIT,
)


def fight(archetype: str = "aggressive", apart: float = 1.5) -> Fights:
    """One fight: the learner in the middle of the field, the foe `apart` steps east of it, the ally close behind."""
    fights = Fights.empty(Sides(archetype, 1.0), 1)
    fights.open_rows(np.array([0]), np.array([1], np.uint64))
    fights.body[X, :, 0] = [10, 10 + apart, 9] if fights.sides.allied else [10, 10 + apart]
    fights.body[Y, :, 0] = 12
    fights.aim[:] = False
    fights.threat[:] = 0
    return fights


def tick(fights: Fights, learner: int, foe: int = WAIT, ally: int = WAIT) -> tuple[Events, float]:
    """One tick with damage at its mean."""
    wishes = np.array([[learner], [foe], [ally]][: fights.sides.count], np.int64)
    noise = np.full((fights.sides.count, 1), 0.5, np.float32)
    events, score = play_tick(fights, wishes, measure(fights), noise)
    return events, float(score[0])


def lost(events: Events) -> float:
    return float(events.damage_taken[0])


def dealt(events: Events) -> float:
    return float(events.damage_dealt[0])


def test_a_strike_lands_at_once_within_its_reach() -> None:
    assert dealt(tick(fight(), STRIKE)[0]) == pytest.approx(4.5 * 1.25)


def test_an_attack_out_of_reach_becomes_a_step_toward_the_foe_and_costs_nothing() -> None:
    f = fight(apart=8)
    mana = f.body[MANA, LEARNER, 0]
    events, _ = tick(f, HEAVY)
    assert dealt(events) == 0
    assert f.body[X, LEARNER, 0] == pytest.approx(11)
    assert f.body[WINDUP, LEARNER, 0] == 0
    assert f.ready[LEARNER, HEAVY, 0] == 0
    assert f.body[MANA, LEARNER, 0] >= mana


def test_a_heavy_blow_is_seen_two_ticks_before_it_lands() -> None:
    f = fight()
    assert lost(tick(f, WAIT, HEAVY)[0]) == 0
    assert f.body[WINDUP, FOE, 0] == 2
    assert f.readied[FOE, 0] == HEAVY
    assert lost(tick(f, WAIT)[0]) == 0
    assert lost(tick(f, WAIT)[0]) == pytest.approx(17 * 1.3 / 0.95)


def test_a_guard_takes_most_off_a_heavy_blow_and_leaves_its_owner_stunned() -> None:
    f = fight()
    tick(f, WAIT, HEAVY)
    tick(f, WAIT)
    events, _ = tick(f, BLOCK)
    full = 17 * 1.3 / 0.95
    assert lost(events) == pytest.approx(full * rules.GUARD_PHYSICAL)
    assert events.damage_blocked[0] == pytest.approx(full * (1 - rules.GUARD_PHYSICAL))
    assert f.body[STUN, FOE, 0] == rules.STAGGER_STUN
    assert dealt(tick(f, STRIKE)[0]) == pytest.approx(4.5 * 1.25 * rules.STUNNED_FACTOR)


def test_a_guard_stands_for_two_ticks_and_has_to_rest() -> None:
    f = fight()
    full = 4.5 * 1.3 / 0.95
    guarded = [lost(tick(f, BLOCK, STRIKE)[0]) < full / 2 for _ in range(6)]
    assert guarded == [True, True, False, False, True, True]


def test_a_leap_evades_what_lands_in_its_tick() -> None:
    f = fight("ranged")
    tick(f, WAIT, HEAVY)
    f.body[X, LEARNER, 0] = 10
    tick(f, SHOT)
    f.body[X, LEARNER, 0] = 10
    assert lost(tick(f, DASH)[0]) == 0
    assert f.body[X, LEARNER, 0] == pytest.approx(10 - rules.LEAP)


def test_who_walks_out_of_reach_is_not_hit() -> None:
    f = fight("ranged", apart=2.4)
    tick(f, WAIT, HEAVY)
    tick(f, WAIT)
    assert lost(tick(f, SHOT)[0]) == 0


def test_a_bash_breaks_a_wind_up_but_not_through_a_guard() -> None:
    f = fight()
    tick(f, WAIT, HEAVY)
    tick(f, BASH)
    assert f.body[WINDUP, FOE, 0] == 0
    assert f.body[STUN, FOE, 0] == rules.BASH_STUN
    assert [lost(tick(f, WAIT, STRIKE)[0]) > 0 for _ in range(3)] == [False, False, True]
    g = fight()
    tick(g, BASH, BLOCK)
    assert g.body[STUN, FOE, 0] == 0


def test_a_spell_costs_mana_and_comes_half_through_a_guard() -> None:
    f = fight("mage", apart=7)
    before = f.body[MANA, LEARNER, 0]
    events, _ = tick(f, SPELL)
    assert events.mana_on_spells[0] == 24
    assert f.body[MANA, LEARNER, 0] == before - 24 + 1
    tick(f, WAIT)
    events, _ = tick(f, WAIT, BLOCK)
    assert events.spell_damage[0] == pytest.approx(15 * 1.5 * rules.GUARD_MAGIC)


def test_without_mana_an_action_is_a_rest() -> None:
    f = fight("mage", apart=7)
    f.body[MANA, LEARNER, 0] = 20
    tick(f, SPELL)
    assert f.body[WINDUP, LEARNER, 0] == 0
    assert f.body[MANA, LEARNER, 0] == 23


def test_an_action_that_cools_down_is_a_rest() -> None:
    f = fight("ranged", apart=8)
    assert [dealt(tick(f, SHOT)[0]) > 0 for _ in range(4)] == [True, False, True, False]


def test_a_buff_makes_blows_harder_for_a_while() -> None:
    f = fight()
    tick(f, BUFF)
    assert f.body[BUFFED, LEARNER, 0] == rules.BUFF_TICKS
    hits = [dealt(tick(f, STRIKE)[0]) for _ in range(12)]
    assert hits[0] == pytest.approx(4.5 * 1.25 * rules.BUFF_FACTOR)
    assert hits[-1] == pytest.approx(4.5 * 1.25)
    assert sum(hit > 4.5 * 1.25 * 1.01 for hit in hits) == rules.BUFF_TICKS - 1


def test_a_heal_goes_to_the_one_in_greater_need_and_never_beyond_full_health() -> None:
    f = fight("support", apart=9)
    f.body[HEALTH, :, 0] = [90, 180, 30]
    tick(f, HEAL)
    events, _ = tick(f, WAIT)
    assert f.body[HEALTH, ALLY, 0] == 30 + 36
    assert events.effective_healing[0] == events.healing_done[0] == 36
    g = fight("support", apart=9)
    g.body[HEALTH, LEARNER, 0] = 90
    tick(g, HEAL)
    events, _ = tick(g, WAIT)
    assert g.body[HEALTH, LEARNER, 0] == 95
    assert events.healing_done[0] == 5
    assert events.effective_healing[0] == 0


def test_a_guard_near_the_ally_catches_the_blow_meant_for_it() -> None:
    for gap, caught in ((2.0, True), (6.0, False)):
        f = fight("defensive")
        f.body[X, :, 0] = [10, 10 + gap + 1, 10 + gap]
        f.aim[:] = True
        ally = f.body[HEALTH, ALLY, 0]
        events, _ = tick(f, BLOCK, STRIKE)
        assert bool(events.allies_protected[0]) is caught
        assert bool(f.body[HEALTH, ALLY, 0] == ally) is caught
        assert (lost(events) > 0) is caught


def test_a_taunt_turns_the_foe_from_the_ally() -> None:
    f = fight("tank")
    f.aim[:] = True
    f.threat[1] = 20
    events, _ = tick(f, BASH)
    assert events.aggro_count[0] == 1
    assert not f.aim[0]


def test_the_foe_turns_to_the_one_who_hurts_it_more() -> None:
    f = fight("tank")
    f.aim[:] = True
    f.threat[1] = 2
    turned = [tick(f, STRIKE)[0].aggro_count[0] for _ in range(5)]
    assert sum(turned) == 1
    assert turned[0] == 0, "not by the first scratch"
    assert not f.aim[0]
    f.body[X, ALLY, 0] = 10
    for _ in range(20):
        tick(f, WAIT, WAIT, STRIKE)
    assert f.aim[0]


def test_a_guarded_blow_is_struck_back_and_a_guarded_spell_is_not() -> None:
    f = fight("defensive")
    events, _ = tick(f, BLOCK, STRIKE)
    assert dealt(events) == pytest.approx(float(events.damage_blocked[0]) * 0.5)
    g = fight("defensive", apart=7)
    tick(g, WAIT, SPELL)
    tick(g, WAIT)
    events, _ = tick(g, BLOCK)
    assert events.damage_blocked[0] > 0
    assert dealt(events) == 0


def test_the_foe_does_not_turn_in_the_middle_of_a_wind_up() -> None:
    f = fight("tank")
    f.aim[:] = True
    f.threat[0] = 500
    f.body[WINDUP, FOE, 0] = 2
    f.readied[FOE, 0] = HEAVY
    tick(f, WAIT)
    assert f.aim[0]


def test_the_foe_turns_from_a_fallen_ally() -> None:
    f = fight("tank")
    f.aim[:] = True
    f.body[X, ALLY, 0] = 10
    f.body[HEALTH, ALLY, 0] = 1
    events, score = tick(f, WAIT, STRIKE)
    assert events.allies_died[0] == 1
    assert not f.aim[0]
    assert score == -1, "the fight goes on"
    assert tick(f, WAIT)[0].allies_died[0] == 0, "it dies once"


@pytest.mark.parametrize(("mine", "theirs", "expected"), [(50, 1, 1.0), (1, 50, 0.0), (1, 1, 0.5)])
def test_who_falls_loses_and_both_at_once_is_a_draw(mine: float, theirs: float, expected: float) -> None:
    f = fight()
    f.body[HEALTH, :, 0] = [mine, theirs]
    events, score = tick(f, STRIKE, STRIKE)
    assert score == expected
    assert not f.active[0]
    assert events.kills[0] == (theirs == 1)
    assert events.deaths[0] == (mine == 1)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"), [(0.60, 0.54, 1.0), (0.60, 0.56, 0.5), (0.56, 0.60, 0.5), (0.54, 0.60, 0.0)]
)
def test_at_the_tick_limit_the_health_left_decides(mine: float, theirs: float, expected: float) -> None:
    f = fight(apart=10)
    f.body[HEALTH] = f.sides.health * np.array([[mine], [theirs]], np.float32)
    f.tick[:] = rules.TICK_LIMIT - 2
    assert tick(f, WAIT)[1] == -1
    assert tick(f, WAIT)[1] == expected


def test_a_fallen_ally_weighs_on_the_judgement() -> None:
    f = fight("tank", apart=10)
    f.body[HEALTH] = f.sides.health * np.array([[0.9], [0.6], [0.0]], np.float32)
    f.tick[:] = rules.TICK_LIMIT - 1
    assert tick(f, WAIT)[1] == 0


def test_nobody_leaves_the_field() -> None:
    f = fight("ranged", apart=3)
    f.body[X, :, 0] = [0.2, 3]
    for _ in range(10):
        tick(f, DASH)
    assert f.body[X, LEARNER, 0] == 0


def test_kiting_is_drawing_away_from_a_near_foe_that_was_just_hit() -> None:
    f = fight("ranged", apart=5)
    assert tick(f, WAIT)[0].kiting[0] == 0
    tick(f, SHOT)
    assert tick(f, WAIT)[0].kiting[0] == 1


def test_a_hit_soon_after_the_last_is_sustained_damage() -> None:
    f = fight("ranged", apart=9)
    first, _ = tick(f, SHOT)
    assert first.sustained_damage[0] == 0
    tick(f, BUFF)
    second, _ = tick(f, SHOT)
    assert second.sustained_damage[0] == second.damage_dealt[0] > 0


def test_health_lost_is_health_that_was_dealt() -> None:
    """Over whole fights: what the books say left the foe is what is gone."""
    f = fight("tank")
    rng = np.random.default_rng(1)
    taken = 0.0
    for _ in range(60):
        if not f.active[0]:
            break
        learner, ally = f.body[HEALTH, LEARNER, 0], f.body[HEALTH, ALLY, 0]
        events, _ = tick(f, int(rng.integers(0, 7)), int(rng.integers(0, 5)), STRIKE)
        taken += lost(events)
        assert f.body[HEALTH, LEARNER, 0] == pytest.approx(learner - lost(events), abs=1e-3)
        assert f.body[HEALTH, ALLY, 0] <= ally
    assert taken > 0


def test_the_guard_of_one_fight_is_not_the_guard_of_another() -> None:
    f = Fights.empty(Sides("aggressive", 1.0), 2)
    f.open_rows(np.arange(2), np.array([1, 2], np.uint64))
    noise = np.full((2, 2), 0.5, np.float32)
    play_tick(f, np.array([[BLOCK, WAIT], [WAIT, WAIT]]), measure(f), noise)
    assert f.body[GUARD, LEARNER].tolist() == [1, 0]
