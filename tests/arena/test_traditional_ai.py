"""The scripted fighters: they use what they see, and higher levels play better."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from trainers.arena import levels
from trainers.arena.fights import HEALTH, MANA, WINDUP, Fights, Sides, X, Y
from trainers.arena.geometry import measure
from trainers.arena.rules import (
    ACTIONS,
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
    Ints,
)
from trainers.arena.traditional import DRAWS, Temper, choose

N = 4000
STEADY = Temper(reaction=0.5, dither=0.0)


def situation(archetype: str = "aggressive", apart: float = 1.5) -> Fights:
    fights = Fights.empty(Sides(archetype, 1.0), N)
    fights.open_rows(np.arange(N), np.arange(N, dtype=np.uint64))
    fights.body[X, LEARNER] = 8
    fights.body[X, FOE] = 8 + apart
    fights.body[Y] = 12
    fights.aim[:] = False
    return fights


def chosen(fights: Fights, temper: Temper = STEADY) -> Ints:
    rolls = np.random.default_rng(0).random((DRAWS, N)).astype(np.float32)
    return choose(fights, measure(fights), temper, rolls)[0]


def share(actions: Ints, *kinds: int) -> float:
    return float(np.isin(actions, kinds).mean())


def test_close_up_it_strikes_bashes_and_winds_up_heavy_blows() -> None:
    actions = chosen(situation())
    assert share(actions, STRIKE, BASH, HEAVY, BUFF) == 1
    assert min(share(actions, kind) for kind in (STRIKE, BASH, HEAVY, BUFF)) > 0.05


def test_from_afar_it_shoots_casts_and_comes_nearer() -> None:
    actions = chosen(situation(apart=8))
    assert share(actions, SHOT, SPELL, WAIT, BUFF) == 1
    assert min(share(actions, kind) for kind in (SHOT, SPELL, WAIT)) > 0.1
    assert share(chosen(situation(apart=11)), SPELL) == 0


def test_it_answers_a_blow_about_to_land_as_often_as_its_reaction_says() -> None:
    threatened = situation()
    threatened.body[WINDUP, LEARNER] = 1
    threatened.readied[LEARNER] = HEAVY
    assert share(chosen(threatened), BLOCK) == pytest.approx(0.5, abs=0.03)
    threatened.ready[FOE, BLOCK] = 5
    assert share(chosen(threatened), DASH) == pytest.approx(0.5, abs=0.03)
    assert share(chosen(threatened, Temper(reaction=0.0, dither=0.0)), DASH, BLOCK) == 0


@pytest.mark.parametrize(("windup", "readied", "apart"), [(2, HEAVY, 1.5), (1, HEAL, 1.5), (1, HEAVY, 9)])
def test_it_does_not_guard_against_what_will_not_land_now(windup: float, readied: int, apart: float) -> None:
    fights = situation(apart=apart)
    fights.body[WINDUP, LEARNER] = windup
    fights.readied[LEARNER] = readied
    assert share(chosen(fights), BLOCK, DASH) == 0


def test_it_heals_when_hurt_and_only_with_the_mana_for_it() -> None:
    hurt = situation()
    hurt.body[HEALTH, FOE] = 20
    assert share(chosen(hurt), HEAL) > 0.2
    hurt.body[MANA, FOE] = 29
    assert share(chosen(hurt), HEAL) == 0


def test_dithering_is_waiting() -> None:
    assert share(chosen(situation(), Temper(reaction=0.0, dither=0.4)), WAIT) == pytest.approx(0.4, abs=0.03)


def test_it_chooses_nothing_that_would_be_refused() -> None:
    rng = np.random.default_rng(3)
    fights = situation(apart=4)
    fights.body[X, FOE] = 8 + 10 * rng.random(N)
    fights.body[MANA, FOE] = 80 * rng.random(N)
    cooling = [HEAVY, SHOT, SPELL, BLOCK, DASH, HEAL, BUFF, BASH]
    fights.ready[FOE, cooling] = rng.integers(0, 2, (len(cooling), N))
    actions = chosen(fights)
    assert share(actions, *range(ACTIONS)) == 1
    assert (fights.ready[FOE, actions, np.arange(N)] <= 0).all()


def test_the_companion_goes_for_the_foe() -> None:
    fights = situation("tank")
    fights.body[X, ALLY] = np.where(np.arange(N) % 2, 8, 2)
    rolls = np.random.default_rng(0).random((DRAWS, N)).astype(np.float32)
    ally = choose(fights, measure(fights), STEADY, rolls)[1]
    assert ally is not None
    assert set(ally[1::2]) == {STRIKE, HEAVY}
    assert set(ally[::2]) == {WAIT}
    assert choose(situation(), measure(situation()), STEADY, rolls)[1] is None


def test_higher_levels_react_more_and_dither_less() -> None:
    tempers = [levels.temper(level) for level in range(1, levels.LEVELS + 1)]
    assert all(a.reaction < b.reaction and a.dither > b.dither for a, b in pairwise(tempers))
