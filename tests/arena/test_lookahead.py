from __future__ import annotations

import numpy as np
import pytest

from trainers.arena.arena import ACTION_COUNT, Arena
from trainers.arena.lookahead import Course, Lookahead, joined, rows_of
from trainers.arena.rules import Ints
from trainers.arena.stats import ARCHETYPES

HORIZON = 6


def opened(rows: int, archetype: str = "mage") -> Arena:
    return Arena(rows, archetype, 2, reopen=False)


def teacher(archetype: str = "mage", held: int = 1) -> Lookahead:
    return Lookahead(
        lambda rows: opened(rows, archetype), Arena.scripted_action, ACTION_COUNT, held=held, horizon=HORIZON
    )


def under_way(rows: int, ticks: int = 12, archetype: str = "mage") -> Arena:
    arena = opened(rows, archetype)
    arena.start(np.arange(rows))
    for _ in range(ticks):
        arena.step(arena.scripted_action())
    return arena


@pytest.mark.parametrize("archetype", sorted(ARCHETYPES))
def test_a_return_is_what_playing_the_choice_and_then_the_script_pays(archetype: str) -> None:
    fights = under_way(3, archetype=archetype).state()
    found = teacher(archetype).returns(fights)
    for choice in (0, 4, 9):
        arena = opened(3, archetype)
        arena.load_state({**fights, "seed": fights["seed"] + np.uint64(2**60)})
        total = np.zeros(3, np.float32)
        for tick in range(HORIZON):
            actions: Ints = np.full(3, choice) if tick == 0 else arena.scripted_action()
            total += arena.step(actions).reward
        np.testing.assert_array_equal(found[:, choice], total)


def test_a_fight_is_judged_the_same_whatever_others_are_judged_beside_it() -> None:
    fights = under_way(8).state()
    together = teacher().returns(fights)
    parts = [rows_of(fights, np.array(rows)) for rows in ([5], [0, 7])]
    alone = teacher().returns(joined(parts))
    np.testing.assert_array_equal(alone, together[[5, 0, 7]])


def test_the_teacher_does_not_know_the_dice_to_come() -> None:
    """Averaged over the luck of other fights it is wiser, but it never plays with the fight's own."""
    arena = under_way(64)
    fights = arena.state()
    own_luck = dict(fights)
    own_luck["seed"] = fights["seed"] - np.uint64(2**60)
    assert (teacher().returns(fights) != teacher().returns(own_luck)).any()


def test_asking_changes_nothing_in_the_fights_asked_about() -> None:
    arena = under_way(4)
    before = arena.state()
    teacher().returns(arena.state())
    for name, array in arena.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_held_choice_is_played_for_that_many_ticks() -> None:
    fights = under_way(16).state()
    assert (teacher(held=1).returns(fights) != teacher(held=4).returns(fights)).any()
    script_alone = teacher(held=0).returns(fights)
    assert (script_alone == script_alone[:, :1]).all()


def test_a_course_goes_on_from_its_state_bit_for_bit() -> None:
    def course() -> Course:
        arena = Arena(8, "tank", 2)
        arena.start(np.arange(8))
        return Course(arena, teacher("tank"), Arena.scripted_action, ACTION_COUNT, lambda arena: arena.observation)

    first, second = course(), course()
    for _ in range(20):
        first.step(first.script())
    second.load_state(first.state())
    for _ in range(30):
        for one, other in zip(first.step(first.script()), second.step(second.script()), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.observation, second.observation)
    rows = np.array([1, 6])
    np.testing.assert_array_equal(first.returns([first.snapshot(rows)]), second.returns([second.snapshot(rows)]))
