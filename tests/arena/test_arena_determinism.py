"""(fight seed, actions) fix every number, and a saved arena goes on as if it had never stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arena_play import actions_of, play
from trainers.arena.arena import Arena
from trainers.arena.stats import ARCHETYPES

TICKS = 110
everyone = pytest.mark.parametrize("archetype", sorted(ARCHETYPES))


@everyone
def test_a_fight_is_the_same_bits_alone_and_in_any_row_of_any_batch(archetype: str) -> None:
    seeds = np.arange(5000, 5037, dtype=np.uint64)
    order = np.random.default_rng(0).permutation(len(seeds))
    together = play(Arena(37, archetype, 3, reopen=False), seeds, TICKS)
    shuffled = play(Arena(37, archetype, 3, reopen=False), seeds[order], TICKS)
    for row in (0, 17, 36):
        alone = play(Arena(1, archetype, 3, reopen=False), seeds[row : row + 1], TICKS)
        elsewhere = int(np.flatnonzero(order == row)[0])
        for one, many, other in zip(alone, together, shuffled, strict=True):
            for name in ("observation", "reward", "done", "score"):
                expected = getattr(one, name)[0].tobytes()
                assert getattr(many, name)[row].tobytes() == expected
                assert getattr(other, name)[elsewhere].tobytes() == expected


@everyone
def test_another_seed_is_another_fight(archetype: str) -> None:
    actions = np.full(2, 1, np.int64)
    arena = Arena(2, archetype, 1, reopen=False)
    assert (arena.start([1, 2])[0] != arena.start([1, 2])[1]).any()
    arena.start([1, 1])
    steps = [arena.step(actions) for _ in range(30)]
    assert all((step.observation[0] == step.observation[1]).all() for step in steps)


def test_luck_does_not_depend_on_what_was_done_before() -> None:
    """Common random numbers: after other actions the foe of the same seed and tick still rolls the same."""
    seeds = np.full(2, 77, np.uint64)
    arena = Arena(2, "aggressive", 1, reopen=False)
    arena.start(seeds)
    for _ in range(3):
        arena.step(np.array([0, 5], np.int64))
    foe_acts = arena.observation[:, 17:34]
    assert foe_acts[0].any()
    assert (foe_acts[0] == foe_acts[1]).all()


@everyone
def test_a_saved_arena_goes_on_bit_for_bit(archetype: str) -> None:
    seeds = np.arange(40, dtype=np.uint64) + 900
    arena = Arena(40, archetype, 3)
    play(arena, seeds, 57)
    saved = arena.state()
    expected = [arena.step(actions_of(seeds, tick)) for tick in range(57, 200)]
    other = Arena(40, archetype, 3)
    play(other, seeds + np.uint64(10**6), 13)
    other.load_state(saved)
    assert other.observation.tobytes() == _observation_of(saved, archetype)
    for tick, step in enumerate(expected, start=57):
        again = other.step(actions_of(seeds, tick))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(step, again, strict=True))
    assert sum(int(step.done.sum()) for step in expected) > 40, "rows must have been reopened on the way"


def _observation_of(saved: dict[str, np.ndarray], archetype: str) -> bytes:  # type: ignore[type-arg]
    third = Arena(40, archetype, 3)
    third.load_state(saved)
    return third.observation.tobytes()


def test_a_saved_state_is_a_copy() -> None:
    arena = Arena(4, "mage", 1)
    arena.start(np.arange(4))
    saved = arena.state()
    before = {name: array.tobytes() for name, array in saved.items()}
    arena.step(np.zeros(4, np.int64))
    assert {name: array.tobytes() for name, array in saved.items()} == before
    arena.load_state(saved)
    arena.step(np.zeros(4, np.int64))
    assert {name: array.tobytes() for name, array in saved.items()} == before


def test_a_state_of_other_rows_or_another_archetype_is_refused() -> None:
    arena = Arena(4, "mage", 1)
    with pytest.raises(ValueError, match=r"body is float32\(8, 2, 5\), this arena needs float32\(8, 2, 4\)"):
        arena.load_state(Arena(5, "mage", 1).state())
    with pytest.raises(ValueError, match="body"):
        arena.load_state(Arena(4, "tank", 1).state())


def test_a_decided_fight_keeps_its_row_and_stands_still() -> None:
    seeds = np.arange(64, dtype=np.uint64)
    arena = Arena(64, "support", 3, reopen=False)
    arena.start(seeds)
    last = np.zeros((64, 64), np.float32)
    decided = np.zeros(64, bool)
    while arena.active.any():
        step = arena.step(actions_of(seeds, int(decided.sum())))
        assert not step.done[decided].any()
        assert (step.score[decided] == -1).all()
        assert (step.reward[decided] == 0).all()
        assert (step.observation[decided] == last[decided]).all()
        last[step.done] = step.observation[step.done]
        decided |= step.done
    assert decided.all()


def test_a_decided_row_reopens_with_a_seed_of_its_own() -> None:
    """Row r plays seeds first + r, + rows, + 2 rows ...: what a row plays next does not depend on the others."""
    seeds = np.arange(8, dtype=np.uint64) + 100
    arena = Arena(8, "aggressive", 5)
    arena.start(seeds)
    ends = np.zeros(8, np.int64)
    for tick in range(150):
        step = arena.step(actions_of(seeds, tick))
        for row in np.flatnonzero(step.done):
            ends[row] += 1
            fresh = Arena(1, "aggressive", 5).start([100 + row + 8 * ends[row]])
            assert step.observation[row].tobytes() == fresh[0].tobytes()
    assert ends.min() >= 1


@settings(max_examples=40, deadline=None)
@given(
    archetype=st.sampled_from(sorted(ARCHETYPES)),
    level=st.integers(1, 5),
    seed=st.integers(0, 2**53),
    actions=st.lists(st.integers(0, 9), min_size=1, max_size=120),
)
def test_any_play_stays_finite_and_within_the_field(archetype: str, level: int, seed: int, actions: list[int]) -> None:
    arena = Arena(1, archetype, level, reopen=False)
    arena.start([seed])
    for action in actions:
        step = arena.step(np.array([action], np.int64))
        assert np.isfinite(step.observation).all()
        assert np.abs(step.observation).max() <= 4
        assert np.isfinite(step.reward).all()
        assert step.score[0] in ((0, 0.5, 1) if step.done[0] else (-1,))
