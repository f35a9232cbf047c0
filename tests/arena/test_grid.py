from __future__ import annotations

import numpy as np
import pytest

from trainers.arena.fights import HEALTH, WINDUP, X, Y
from trainers.arena.grid import PLANES, SCALARS, SIDE, SKETCH_WIDTH, MappedArena, planes, scalars
from trainers.arena.rules import ALLY, FOE, HEAVY, LEARNER
from trainers.arena.stats import ARCHETYPES

MIDDLE = SIDE // 2


def placed(archetype: str = "tank", **at: tuple[float, float]) -> MappedArena:
    arena = MappedArena(2, archetype, 3, reopen=False, control="direction")
    arena.start(np.arange(2))
    state = arena.state()
    for name, (x, y) in at.items():
        who = {"learner": LEARNER, "foe": FOE, "ally": ALLY}[name]
        state["body"][X, who], state["body"][Y, who] = x, y
    arena.load_state(state)
    return arena


def brightest(plane: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(plane.argmax(), plane.shape)
    return int(row) - MIDDLE, int(column) - MIDDLE


def test_everybody_stands_where_they_stand_seen_from_the_learner() -> None:
    arena = placed(learner=(10.0, 8.0), foe=(14.5, 8.5), ally=(8.5, 12.5))
    drawn = planes(arena.observation)
    assert drawn.shape == (2, PLANES, SIDE, SIDE)
    assert brightest(drawn[0, 1]) == (0, 4)  # half a step north, four and a half east
    assert brightest(drawn[0, 2]) == (4, -2)
    assert drawn[0, 0, MIDDLE, MIDDLE] == drawn[0, 0].max() > 0


def test_walls_are_where_the_field_ends() -> None:
    walls = planes(placed(learner=(2.0, 12.0)).observation)[0, 7]
    beyond = np.arange(SIDE) - (SIDE - 1) / 2 < -2
    np.testing.assert_array_equal(walls[MIDDLE], beyond)


def test_danger_shows_while_the_foe_winds_up_and_grows_as_the_blow_comes_near() -> None:
    arena = placed(learner=(10.0, 10.0), foe=(12.0, 10.0))
    state = arena.state()
    shown = []
    for ticks in (0, 2, 1):
        state["body"][WINDUP, FOE] = ticks
        state["readied"][FOE] = HEAVY
        arena.load_state(state)
        shown.append(planes(arena.observation)[0, 3])
    assert shown[0].max() == 0
    assert 0 < shown[1].max() < shown[2].max()
    assert shown[2][MIDDLE, MIDDLE] > 0  # the learner stands in it
    assert shown[2][MIDDLE, 0] == 0


def test_a_spot_is_as_bright_as_its_owner_is_healthy() -> None:
    arena = placed()
    before = planes(arena.observation)[:, 1].max()
    state = arena.state()
    state["body"][HEALTH, FOE] *= np.float32(0.5)
    arena.load_state(state)
    assert planes(arena.observation)[:, 1].max() == pytest.approx(before / 2)


def test_without_an_ally_there_is_none_on_the_map() -> None:
    assert planes(placed("mage").observation)[:, 2].max() == 0


@pytest.mark.parametrize("archetype", sorted(ARCHETYPES))
def test_a_map_does_not_depend_on_what_else_is_drawn_and_everything_lies_in_0_to_1(archetype: str) -> None:
    arena = MappedArena(9, archetype, 3, reopen=False, control="direction")
    sketch = arena.start(np.arange(9))
    assert sketch.shape == (9, SKETCH_WIDTH)
    for _ in range(30):
        sketch = arena.step(arena.scripted_direction()).observation
    together = planes(sketch)
    assert together.min() >= 0
    assert together.max() <= 1
    for row in (0, 4, 8):
        np.testing.assert_array_equal(planes(sketch[row : row + 1])[0], together[row])


def test_the_map_says_where_the_ally_is_and_the_numbers_only_how_far() -> None:
    east, west = (placed(learner=(10.0, 10.0), foe=(10.0, 16.0), ally=at) for at in ((13.0, 10.0), (7.0, 10.0)))
    np.testing.assert_array_equal(scalars(east.observation), scalars(west.observation))
    assert scalars(east.observation).shape == (2, SCALARS)
    assert (planes(east.observation) != planes(west.observation)).any()
