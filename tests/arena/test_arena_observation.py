"""What the learner is shown is what there is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.arena_play import always
from trainers.arena.arena import Arena
from trainers.arena.observation import AIM, ALLY_FROM, ARCHETYPE_FROM, FIELD_FROM, FOE_FROM, LEVEL, TIME_FROM, WIDTH
from trainers.arena.rules import BLOCK, BUFF, HEAVY, SPELL, STRIKE, WAIT
from trainers.arena.stats import ALLIED, ARCHETYPES

HEALTH, MANA, WINDUP, STUN, BUFFED, GUARD, COOLING, CHARGED = 0, 1, 2, 3, 4, 5, 6, 14


def opened(archetype: str = "mage", level: int = 2, rows: int = 32) -> tuple[Arena, np.ndarray]:  # type: ignore[type-arg]
    arena = Arena(rows, archetype, level, reopen=False)
    return arena, arena.start(np.arange(rows))


@pytest.mark.parametrize("archetype", sorted(ARCHETYPES))
def test_a_fight_opens_with_everyone_whole_and_ready(archetype: str) -> None:
    _, seen = opened(archetype)
    assert seen.shape == (32, WIDTH)
    assert seen.dtype == np.float32
    assert seen.flags.c_contiguous
    for fighter in (0, FOE_FROM):
        assert (seen[:, [fighter + HEALTH, fighter + MANA]] == 1).all()
        assert (seen[:, fighter + WINDUP : fighter + FOE_FROM] == 0).all()
    assert (seen[:, ALLY_FROM] == (archetype in ALLIED)).all()
    assert (seen[:, TIME_FROM] == 1).all()
    assert (seen[:, ARCHETYPE_FROM:LEVEL].argmax(1) == list(ARCHETYPES).index(archetype)).all()
    assert (seen[:, ARCHETYPE_FROM:LEVEL].sum(1) == 1).all()
    assert (seen[:, LEVEL] == np.float32(0.4)).all()


def test_a_wind_up_is_shown_with_what_it_will_be() -> None:
    arena, _ = opened("mage")
    seen = arena.step(always(SPELL)(np.zeros((32, 64), np.float32))).observation
    near = seen[:, WINDUP] == 1
    assert near.any()
    assert (seen[near, CHARGED : CHARGED + 3] == [0, 1, 0]).all()
    assert (seen[near, COOLING + 2] == 0.75).all(), "and the spell cools down, three of four ticks to go"
    assert (seen[~near, CHARGED : CHARGED + 3] == 0).all(), "out of reach it was a step"


def test_the_foes_wind_up_is_shown_before_it_lands() -> None:
    """In every fight: health never falls by a heavy blow that was not to be seen the tick before."""
    arena = Arena(128, "aggressive", 5, reopen=False, strength=1.0)
    seen = arena.start(np.arange(128))
    struck = 0
    while arena.active.any():
        health = seen[:, HEALTH]
        announced = (seen[:, FOE_FROM + WINDUP] > 0) & (seen[:, FOE_FROM + WINDUP] <= 0.5)
        seen = arena.step(np.full(128, WAIT, np.int64)).observation
        heavily = health - seen[:, HEALTH] > 0.17  # more than a buffed shot at one who is stunned
        assert announced[heavily].all()
        struck += int(heavily.sum())
    assert struck > 100


def test_guard_and_buff_are_shown() -> None:
    arena, _ = opened()
    assert (arena.step(np.full(32, BLOCK, np.int64)).observation[:, GUARD] == 0.5).all()
    assert (arena.step(np.full(32, BUFF, np.int64)).observation[:, BUFFED] == 1).all()


def test_reaches_agree_with_the_distance() -> None:
    arena, seen = opened("aggressive", rows=64)
    for _ in range(40):
        distance = seen[:, FIELD_FROM] * 10
        for column, reach in enumerate((2, 2.5, 10, 12), start=1):
            sure = np.abs(distance - reach) > 1e-4
            assert (seen[sure, FIELD_FROM + column] == (distance <= reach)[sure]).all()
        seen = arena.step(np.full(64, STRIKE, np.int64)).observation


def test_time_runs_out_and_the_leads_are_signed() -> None:
    arena, _ = opened("tank", level=5)
    seen = arena.step(np.full(32, HEAVY, np.int64)).observation
    assert seen[:, TIME_FROM] == pytest.approx(0.99)
    for _ in range(40):
        seen = arena.step(np.full(32, WAIT, np.int64)).observation
    standing = seen[:, HEALTH] > 0
    lead = seen[:, HEALTH] - seen[:, FOE_FROM + HEALTH]
    assert seen[standing, TIME_FROM + 3] == pytest.approx(lead[standing], abs=1e-6)
    assert (seen[:, TIME_FROM + 3] < 0).mean() > 0.9, "who only waits falls behind"


def test_whom_the_foe_minds_is_shown_to_those_with_an_ally() -> None:
    _, seen = opened("support", rows=64)
    assert set(seen[:, AIM]) == {0, 1}
    _, seen = opened("mage", rows=64)
    assert set(seen[:, AIM]) == {0}


def test_an_observation_once_given_is_never_written_to_again() -> None:
    for rows in (1, 2, 32):
        arena, seen = opened(rows=rows)
        copy = seen.copy()
        for _ in range(3):
            arena.step(np.full(rows, STRIKE, np.int64))
        assert (seen == copy).all()
