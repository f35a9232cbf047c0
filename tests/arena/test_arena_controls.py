"""Directions and the pad: what they do, and that a steered fight is as fixed by (seed, actions) as any other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainers.arena import autopilot
from trainers.arena.arena import Arena, Step
from trainers.arena.controls import CONTROLS, DIRECTIONS, PAD
from trainers.arena.fights import GUARD, HEALTH, STUN, WINDUP, X, Y
from trainers.arena.randomness import uniforms
from trainers.arena.rules import FIELD, HEAVY, LEAP, LEARNER, SHOT, STRIKE, WAIT
from trainers.arena.stats import ARCHETYPES

everyone = pytest.mark.parametrize("archetype", sorted(ARCHETYPES))
steered = pytest.mark.parametrize("control", ["direction", "pad"])
STILL_PAD = (0.0, 0.0, -1.0, -1.0)


def actions_of(control: str, seeds: NDArray[np.uint64], tick: int) -> NDArray[np.generic]:
    """A function of (fight seed, tick) alone."""
    rolls = uniforms(seeds + np.uint64(10**9), np.full(len(seeds), tick, np.uint64), 1)
    if control == "pad":
        return np.ascontiguousarray((2 * rolls - 1).T)
    return (rolls[0] * (DIRECTIONS if control == "direction" else 10)).astype(np.int64)


def play(arena: Arena, control: str, seeds: NDArray[np.uint64], ticks: range) -> list[Step]:
    if ticks.start == 0:
        arena.start(seeds)
    return [arena.step(actions_of(control, seeds, tick)) for tick in ticks]


@everyone
@steered
def test_a_steered_fight_is_the_same_bits_alone_and_in_any_row_of_any_batch(archetype: str, control: str) -> None:
    seeds = np.arange(5000, 5023, dtype=np.uint64)
    order = np.random.default_rng(0).permutation(len(seeds))
    together = play(Arena(23, archetype, 3, reopen=False, control=control), control, seeds, range(105))
    shuffled = play(Arena(23, archetype, 3, reopen=False, control=control), control, seeds[order], range(105))
    alone = play(Arena(1, archetype, 3, reopen=False, control=control), control, seeds[9:10], range(105))
    elsewhere = int(np.flatnonzero(order == 9)[0])
    for one, many, other in zip(alone, together, shuffled, strict=True):
        for name in ("observation", "reward", "done", "score"):
            expected = getattr(one, name)[0].tobytes()
            assert getattr(many, name)[9].tobytes() == expected
            assert getattr(other, name)[elsewhere].tobytes() == expected


@everyone
@steered
def test_a_saved_steered_arena_goes_on_bit_for_bit(archetype: str, control: str) -> None:
    seeds = np.arange(900, 916, dtype=np.uint64)
    arena = Arena(16, archetype, 3, control=control)
    play(arena, control, seeds, range(41))
    saved = arena.state()
    expected = play(arena, control, seeds, range(41, 130))
    other = Arena(16, archetype, 3, control=control)
    play(other, control, seeds + np.uint64(7), range(3))
    other.load_state(saved)
    for step, again in zip(expected, play(other, control, seeds, range(41, 130)), strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(step, again, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    archetype=st.sampled_from(sorted(ARCHETYPES)),
    seed=st.integers(0, 2**53),
    pads=st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * PAD), min_size=1, max_size=60),
)
def test_any_pad_keeps_the_learner_in_the_field_and_its_step_within_a_leap(
    archetype: str, seed: int, pads: list[tuple[float, ...]]
) -> None:
    arena = Arena(1, archetype, 3, reopen=False, control="pad")
    arena.start([seed])
    for pad in pads:
        body = arena._fights.body
        before = body[[X, Y], LEARNER, 0].copy()
        step = arena.step(np.array([pad], np.float32))
        after = body[[X, Y], LEARNER, 0]
        assert ((after >= 0) & (after <= FIELD)).all()
        assert np.linalg.norm(after - before) <= LEAP + 1e-4
        assert np.isfinite(step.observation).all()
        assert np.isfinite(step.reward).all()


def opened(control: str, archetype: str = "aggressive", apart: float = 8.0) -> Arena:
    """A fight in which the foe stands in the east and the buff is spent."""
    arena = Arena(1, archetype, 3, reopen=False, control=control)
    arena.start([3])
    arena._fights.body[X, :2, 0] = 10, 10 + apart
    arena._fights.body[Y, :2, 0] = 12
    arena._fights.ready[LEARNER, 8] = 99
    arena._look()
    return arena


def moved(arena: Arena, action: object) -> NDArray[np.float32]:
    before = arena._fights.body[[X, Y], LEARNER, 0].copy()
    arena.step(np.array([action], np.float32 if arena._control is CONTROLS["pad"] else np.int64))
    return arena._fights.body[[X, Y], LEARNER, 0] - before


@pytest.mark.parametrize("direction", range(DIRECTIONS))
@pytest.mark.parametrize("archetype", ["aggressive", "tank", "ranged"])
def test_a_step_goes_where_it_is_steered_at_the_archetypes_speed(archetype: str, direction: int) -> None:
    expected = autopilot.COMPASS[:, direction] * ARCHETYPES[archetype].speed
    assert moved(opened("direction", archetype, apart=13), direction) == pytest.approx(expected, abs=1e-5)


def test_no_step_leaves_the_field() -> None:
    arena = opened("direction")
    arena._fights.body[X, LEARNER] = 0.25
    assert moved(arena, 7).tolist() == pytest.approx([-0.25, 0.0])


def test_one_who_stands_fights_by_the_script_and_one_who_walks_only_at_arms_length() -> None:
    standing, walking = opened("direction", "ranged"), opened("direction", "ranged")
    assert standing.scripted_action()[0] == SHOT
    assert CONTROLS["direction"](standing._fights, standing._geometry, np.array([0])).action[0] == SHOT
    assert CONTROLS["direction"](walking._fights, walking._geometry, np.array([7])).action[0] == WAIT
    close = opened("direction", apart=1.0)
    close._fights.ready[LEARNER, [SHOT, HEAVY]] = 50
    assert close.scripted_action()[0] == STRIKE
    assert CONTROLS["direction"](close._fights, close._geometry, np.array([1])).action[0] == STRIKE


@pytest.mark.parametrize("timer", [STUN, WINDUP])
def test_one_who_is_stunned_or_winds_up_does_not_step(timer: int) -> None:
    arena = opened("direction")
    arena._fights.body[timer, LEARNER] = 2
    arena._fights.readied[LEARNER] = HEAVY
    assert moved(arena, 3).tolist() == [0.0, 0.0]


def test_a_leap_goes_where_it_is_steered() -> None:
    arena = opened("pad")
    assert moved(arena, (0.0, 1.0, -1.0, 1.0)).tolist() == pytest.approx([0.0, LEAP])


def test_the_pads_step_is_as_long_as_its_vector_and_never_longer_than_one() -> None:
    speed = ARCHETYPES["aggressive"].speed
    assert moved(opened("pad"), (0.3, 0.0, -1.0, -1.0)).tolist() == pytest.approx([0.3 * speed, 0.0])
    assert moved(opened("pad"), (1.0, 1.0, -1.0, -1.0)).tolist() == pytest.approx([speed * 0.5**0.5] * 2)


def fought(
    pad: tuple[float, ...], apart: float = 8.0, archetype: str = "aggressive", spent: tuple[int, ...] = ()
) -> int:
    arena = opened("pad", archetype, apart)
    arena._fights.ready[LEARNER, list(spent)] = 50
    return int(CONTROLS["pad"](arena._fights, arena._geometry, np.array([pad], np.float32)).action[0])


def test_assault_chooses_between_nothing_the_light_and_the_heavy_attack() -> None:
    assert fought((0, 0, -0.1, -1)) == WAIT
    assert fought((0, 0, 0.3, -1)) == SHOT
    assert fought((0, 0, 0.3, -1), apart=1.0, spent=(SHOT,)) == STRIKE
    assert fought((0, 0, 0.9, -1), apart=1.0) == HEAVY
    assert fought((0, 0, 0.9, -1), archetype="mage") == 4  # a spell
    assert fought((0, 0, 0.9, -1), apart=13.0) == WAIT


def test_one_who_shoots_or_heals_on_the_pad_stays_where_it_is_and_one_who_strikes_walks_on() -> None:
    assert moved(opened("pad", "ranged"), (1.0, 0.0, 0.3, -1.0)).tolist() == [0.0, 0.0]
    hurt = opened("pad", "support")
    hurt._fights.body[HEALTH, LEARNER] = 20
    assert moved(hurt, (1.0, 0.0, -1.0, -1.0)).tolist() == [0.0, 0.0]
    close = opened("pad", apart=1.0)
    close._fights.ready[LEARNER, SHOT] = 50
    assert moved(close, (1.0, 0.0, 0.3, -1.0)).tolist() == pytest.approx([ARCHETYPES["aggressive"].speed, 0.0])


def test_guard_goes_before_the_assault_and_yields_to_it_while_both_guards_cool_down() -> None:
    assert fought((0, 0, 0.3, 0.2)) == 5
    assert fought((0, 0, 0.3, 0.9)) == 6
    assert fought((0, 0, 0.3, 0.2), spent=(5,)) == 6
    assert fought((0, 0, 0.3, 0.9), spent=(6,)) == 5
    assert fought((0, 0, 0.3, 0.9), spent=(5, 6)) == SHOT


def test_without_an_assault_the_script_tends_wounds() -> None:
    arena = opened("pad", "support")
    arena._fights.body[2, LEARNER] = 20
    action = CONTROLS["pad"](arena._fights, arena._geometry, np.array([STILL_PAD], np.float32)).action
    assert action[0] == 7


def test_a_guard_of_the_pad_is_up_in_the_tick_it_is_asked_for() -> None:
    arena = opened("pad")
    arena.step(np.array([(0, 0, -1, 0.2)], np.float32))
    assert arena._fights.body[GUARD, LEARNER, 0] == 1


@pytest.mark.parametrize(
    ("control", "actions"),
    [
        ("direction", np.array([9])),
        ("direction", np.array([-1])),
        ("direction", np.array([1, 1])),
        ("pad", np.zeros((1, 3), np.float32)),
        ("pad", np.zeros((1, 4))),
        ("pad", np.full((1, 4), 1.01, np.float32)),
        ("pad", np.full((1, 4), np.nan, np.float32)),
    ],
)
def test_actions_that_a_control_does_not_have_are_refused(control: str, actions: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="actions must be"):
        opened(control).step(actions)


def test_a_control_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="control 'wheel' does not exist; there are combat, direction, pad"):
        Arena(1, "mage", 1, control="wheel")
