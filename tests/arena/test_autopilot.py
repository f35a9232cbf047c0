"""The scripted learner: it uses what it sees, asks for nothing that would be refused, and wins fights."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.arena import autopilot
from trainers.arena.arena import Arena
from trainers.arena.fights import HEALTH, MANA, STUN, WINDUP, Fights, Sides, X, Y
from trainers.arena.geometry import measure
from trainers.arena.rules import (
    ALLY,
    BASH,
    BLOCK,
    BUFF,
    COOLDOWN,
    DASH,
    FOE,
    HEAL,
    HEAVY,
    LEARNER,
    MANA_COST,
    SHOT,
    SPELL,
    STRIKE,
    WAIT,
)
from trainers.arena.stats import ARCHETYPES

everyone = pytest.mark.parametrize("archetype", sorted(ARCHETYPES))


def situation(archetype: str = "aggressive", apart: float = 1.5, rows: int = 1) -> Fights:
    """Face to face in the middle of the field, the buff spent."""
    fights = Fights.empty(Sides(archetype, 1.0), rows)
    fights.open_rows(np.arange(rows), np.arange(rows, dtype=np.uint64))
    fights.body[X, LEARNER] = 8
    fights.body[X, FOE] = 8 + apart
    fights.body[Y] = 12
    fights.ready[LEARNER, BUFF] = 99
    fights.aim[:] = False
    return fights


def chosen(fights: Fights) -> int:
    return int(autopilot.fight(fights, measure(fights))[0])


def cooling(fights: Fights, *actions: int, who: int = LEARNER) -> Fights:
    fights.ready[who, list(actions)] = 50
    return fights


def test_an_aggressive_fighter_shoots_strikes_and_winds_up_only_against_one_who_cannot_guard() -> None:
    assert chosen(situation()) == SHOT
    assert chosen(cooling(situation(), SHOT)) == STRIKE
    assert chosen(situation(apart=15)) == WAIT
    assert chosen(cooling(situation(), BLOCK, who=FOE)) == HEAVY
    stunned = situation()
    stunned.body[STUN, FOE] = 3
    assert chosen(stunned) == HEAVY


def test_a_mage_casts_while_its_mana_lasts() -> None:
    fights = situation("mage", apart=7)
    assert chosen(fights) == SPELL
    fights.body[MANA, LEARNER] = MANA_COST[SPELL] - 1
    assert chosen(fights) == SHOT
    assert chosen(situation("ranged", apart=7)) == SHOT, "its spells are not worth three ticks"


@pytest.mark.parametrize(("readied", "answer", "instead"), [(HEAVY, BLOCK, DASH), (SPELL, DASH, BLOCK)])
def test_a_blow_about_to_land_is_guarded_or_leapt_from(readied: int, answer: int, instead: int) -> None:
    threatened = situation("ranged", apart=2)
    threatened.body[WINDUP, FOE] = 1
    threatened.readied[FOE] = readied
    assert chosen(threatened) == answer
    assert chosen(cooling(threatened, answer)) == instead
    threatened.body[WINDUP, FOE] = 2
    assert chosen(threatened) not in (BLOCK, DASH)


def test_a_blow_at_the_companion_is_caught_by_one_who_stands_near_and_nobody_else() -> None:
    threatened = situation("tank")
    threatened.body[X, ALLY] = 8
    threatened.body[WINDUP, FOE], threatened.readied[FOE] = 1, HEAVY
    threatened.aim[:] = True
    assert chosen(threatened) == BLOCK
    threatened.body[X, LEARNER] = 4
    assert chosen(threatened) != BLOCK


def test_a_wind_up_is_broken_by_a_bash_and_a_foe_called_away_from_the_companion() -> None:
    winding = cooling(situation(), HEAVY, BLOCK, DASH)
    winding.body[WINDUP, FOE], winding.readied[FOE] = 2, HEAVY
    assert chosen(winding) == BASH
    turned = cooling(situation("tank"), HEAVY)
    turned.aim[:] = True
    assert chosen(turned) == BASH


def test_it_heals_itself_and_a_companion_in_reach_and_buffs_once_engaged() -> None:
    hurt = situation("support", apart=6)
    hurt.body[HEALTH, LEARNER] = 30
    assert chosen(hurt) == HEAL
    companion = situation("support", apart=6)
    companion.body[X, ALLY], companion.body[HEALTH, ALLY] = 6, 30
    assert chosen(companion) == HEAL
    companion.body[X, ALLY] = 20
    assert chosen(companion) != HEAL
    fresh = situation("support", apart=6)
    fresh.ready[LEARNER, BUFF] = 0
    assert chosen(fresh) == BUFF
    fresh.body[X, FOE] = 23
    assert chosen(fresh) != BUFF


@everyone
def test_it_asks_for_nothing_that_would_be_refused(archetype: str) -> None:
    rng = np.random.default_rng(3)
    fights = situation(archetype, rows=2000)
    fights.body[X, FOE] = 8 + 14 * rng.random(2000)
    fights.body[MANA, LEARNER] = 80 * rng.random(2000)
    fights.body[HEALTH, LEARNER] *= rng.random(2000)
    spent = np.flatnonzero(COOLDOWN > 0)
    fights.ready[LEARNER, spent] = rng.integers(0, 2, (len(spent), 2000))
    geometry = measure(fights)
    actions = autopilot.fight(fights, geometry)
    assert (fights.ready[LEARNER, actions, np.arange(2000)] <= 0).all()
    assert (MANA_COST[actions] <= fights.body[MANA, LEARNER]).all()
    assert len(np.unique(actions)) > 4


def test_it_steers_to_where_the_archetype_likes_to_stand_and_stays() -> None:
    apart = {"aggressive": 1.5, "mage": 7.8, "ranged": 9.9}
    for archetype, near in apart.items():
        for distance, direction in ((near, 0), (near + 2, 3)):  # the foe is in the east
            fights = situation(archetype, apart=distance)
            assert autopilot.steer(fights, measure(fights))[0] == direction
    north = situation()
    north.body[X, FOE], north.body[Y, FOE] = 8, 20
    assert autopilot.steer(north, measure(north))[0] == 1


def test_the_compass_turns_clockwise_in_steps_of_length_one() -> None:
    length = np.linalg.norm(autopilot.COMPASS, axis=0)
    assert length.tolist() == pytest.approx([0] + [1] * 8)
    angles = np.unwrap(np.arctan2(autopilot.COMPASS[1, 1:], autopilot.COMPASS[0, 1:]))
    assert np.diff(angles).tolist() == pytest.approx([-np.pi / 4] * 7)


@everyone
def test_it_wins_fights_that_chance_does_not(archetype: str) -> None:
    rates = []
    for scripted in (True, False):
        arena = Arena(128, archetype, 3, reopen=False, strength=0.9)
        arena.start(np.arange(128))
        scores = np.zeros(128)
        rng = np.random.default_rng(0)
        while arena.active.any():
            step = arena.step(arena.scripted_action() if scripted else rng.integers(0, 10, 128))
            scores[step.done] = step.score[step.done]
        rates.append(scores.mean())
    assert rates[0] > rates[1] + 0.3
