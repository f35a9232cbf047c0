"""Loadouts are a function of the fight's seed; elements and natures do what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.arena.arena import OBSERVATION_WIDTH
from trainers.arena.rules import CODES
from trainers.arena.skills import (
    _BASE,
    ELEMENTS,
    HELPING,
    HURTING,
    RESISTS,
    SLOTS,
    VOCABULARY,
    WEAK,
    WIDTH,
    SkillArena,
    loadouts,
)

SEEDS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40).map(lambda seeds: np.array(seeds, np.uint64))


@given(SEEDS)
def test_a_loadout_is_rest_four_skills_that_hurt_and_two_that_help_all_of_other_actions(seeds) -> None:
    found = loadouts(seeds)
    actions = _BASE[found.skills]
    assert (found.skills[0] == 0).all()
    assert found.skills.min() >= 0
    assert found.skills.max() < VOCABULARY
    assert (np.isin(actions, HURTING).sum(0) == 4).all()
    assert (np.isin(actions, HELPING).sum(0) == 2).all()
    assert all(len(set(column)) == SLOTS for column in actions.T)


@given(SEEDS, st.randoms())
def test_a_loadout_depends_on_its_own_seed_alone(seeds, random) -> None:
    order = list(range(len(seeds)))
    random.shuffle(order)
    whole, shuffled = loadouts(seeds), loadouts(seeds[order])
    assert (shuffled.skills == whole.skills[:, order]).all()
    assert (shuffled.edge == whole.edge[:, order]).all()
    assert (loadouts(seeds[:1]).columns == whole.columns[:1]).all()


def test_an_element_is_strong_weak_or_neither_by_the_foes_nature() -> None:
    found = loadouts(np.arange(4000, dtype=np.uint64))
    assert found.edge.shape == (CODES, 4000)
    for slot in range(1, SLOTS):
        skill = found.skills[slot]
        hurts = (skill > 0) & (skill <= len(HURTING) * ELEMENTS)
        element = (skill - 1) % ELEMENTS
        edge = found.edge[_BASE[skill], np.arange(4000)]
        assert (edge[hurts & (element == found.nature)] == np.float32(WEAK)).all()
        assert (edge[hurts & (element == (found.nature + 2) % ELEMENTS)] == np.float32(RESISTS)).all()
        assert (edge[hurts & ((element - found.nature) % 2 == 1)] == 1).all()
        assert (edge[~hurts] == 1).all()
    assert np.bincount(found.nature) == pytest.approx(1000, abs=120)


def played(rows: int, seeds: np.ndarray, ticks: int = 60) -> list[tuple[np.ndarray, ...]]:
    arena = SkillArena(rows, "mage", 1, strength=1.0, reopen=False)
    arena.start(seeds)
    return [tuple(arena.step((np.arange(rows) * 0 + tick) % SLOTS)) for tick in range(ticks)]


def test_seed_and_slots_fix_every_number_whatever_else_is_played_beside() -> None:
    seeds = np.arange(50, 66, dtype=np.uint64)
    whole, part = played(16, seeds, 25), played(4, seeds[4:8], 25)
    for one, other in zip(whole, part, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a[4:8].tobytes() == b.tobytes()


def test_a_restored_arena_goes_on_bit_for_bit_with_the_loadouts_of_the_fights_it_took_over() -> None:
    arena = SkillArena(8, "tank", 2, strength=0.5)
    arena.start(np.arange(8))
    for tick in range(40):
        arena.step(np.full(8, tick % SLOTS))
    other = SkillArena(8, "tank", 2, strength=0.5)
    other.start(np.arange(100, 108))
    other.load_state(arena.state())
    assert other.observation.tobytes() == arena.observation.tobytes()
    for tick in range(30):
        for a, b in zip(arena.step(np.full(8, tick % SLOTS)), other.step(np.full(8, tick % SLOTS)), strict=True):
            assert a.tobytes() == b.tobytes()


def test_the_observation_shows_the_ids_behind_the_64_numbers() -> None:
    arena = SkillArena(4, "ranged", 1)
    seen = arena.start(np.arange(4))
    assert seen.shape == (4, WIDTH)
    assert (seen[:, OBSERVATION_WIDTH:] == loadouts(np.arange(4, dtype=np.uint64)).columns).all()


def test_a_blow_of_the_element_that_the_foe_is_weak_to_takes_more_health() -> None:
    """The same fights, each struck once with every factor: what the foe lost is in proportion to it."""
    seeds = np.arange(400, dtype=np.uint64)
    found = loadouts(seeds)
    arena = SkillArena(400, "aggressive", 1, rewards={"damage_dealt": 1.0}, strength=1.0)
    arena.start(seeds)
    strike = np.argmax(_BASE[found.skills] == HURTING[0], axis=0)
    dealt = np.zeros(400)
    for _ in range(25):
        dealt += arena.step(strike).reward
    edge = found.edge[HURTING[0]]
    means = [dealt[(strike > 0) & (edge == np.float32(factor))].mean() for factor in (RESISTS, 1.0, WEAK)]
    assert means[0] < 0.5 * means[1]
    assert means[2] > 1.3 * means[1]


@pytest.mark.parametrize("slots", [np.full(4, SLOTS), np.full(4, -1), np.zeros(3, np.int64)])
def test_what_is_no_slot_is_refused(slots) -> None:
    arena = SkillArena(4, "mage", 1)
    arena.start(np.arange(4))
    with pytest.raises(ValueError, match="slots must be 4 integers from 0 to 6"):
        arena.step(slots)
