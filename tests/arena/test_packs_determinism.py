"""Pack fights: (fight seed, orders) fix every number, and a saved arena goes on as if it had never stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pack_play import orders_of, play
from trainers.arena.packs.arena import PackArena
from trainers.arena.stats import ARCHETYPES

TURNS = 13
everyone = pytest.mark.parametrize("archetype", sorted(ARCHETYPES))


def still(rows: int, archetype: str, **changes: object) -> PackArena:
    return PackArena(rows, archetype, 3, 0.8, reopen=False, **changes)  # type: ignore[arg-type]


@everyone
def test_a_fight_is_the_same_bits_alone_and_in_any_row_of_any_batch(archetype: str) -> None:
    seeds = np.arange(5000, 5019, dtype=np.uint64)
    order = np.random.default_rng(0).permutation(len(seeds))
    together, shuffled = still(19, archetype), still(19, archetype)
    alone = {row: still(1, archetype) for row in (0, 18)}
    together.start(seeds)
    shuffled.start(seeds[order])
    for row, arena in alone.items():
        arena.start(seeds[row : row + 1])
    for turn in range(TURNS):
        orders = orders_of(seeds, turn)
        many, other = together.step(orders), shuffled.step(orders[order])
        joint, other_joint = together.joint, shuffled.joint
        for row, arena in alone.items():
            one, place = arena.step(orders[row : row + 1]), int(np.flatnonzero(order == row)[0])
            for name in ("observation", "reward", "done", "score"):
                expected = getattr(one, name)[0].tobytes()
                assert getattr(many, name)[row].tobytes() == expected
                assert getattr(other, name)[place].tobytes() == expected
            assert joint[row].tobytes() == arena.joint[0].tobytes() == other_joint[place].tobytes()
    assert not together.active.all()


def test_another_seed_is_another_fight() -> None:
    arena = still(2, "tank")
    assert (arena.start([1, 2])[0] != arena.start([1, 2])[1]).any()
    arena.start([1, 1])
    steps = [arena.step(np.ones((2, 5), np.int64)) for _ in range(8)]
    assert all((step.observation[0] == step.observation[1]).all() for step in steps)


@everyone
def test_a_saved_arena_goes_on_bit_for_bit(archetype: str) -> None:
    seeds = np.arange(12, dtype=np.uint64) + np.uint64(900)
    arena = PackArena(12, archetype, 3, 0.8)
    play(arena, seeds, 9)
    saved = arena.state()
    before = {name: array.tobytes() for name, array in saved.items()}
    expected = [arena.step(orders_of(seeds, turn)) for turn in range(9, 28)]
    other = PackArena(12, archetype, 3, 0.8)
    play(other, seeds + np.uint64(10**6), 5)
    other.load_state(saved)
    for turn, step in enumerate(expected, start=9):
        again = other.step(orders_of(seeds, turn))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(step, again, strict=True))
    assert sum(int(step.done.sum()) for step in expected) > 12, "rows must have been reopened on the way"
    assert {name: array.tobytes() for name, array in saved.items()} == before, "a saved state is a copy"


def test_a_state_of_other_rows_or_another_pack_size_is_refused() -> None:
    arena = still(4, "mage")
    with pytest.raises(ValueError, match=r"body is float32\(9, 2, 5, 5\), this arena needs float32\(9, 2, 5, 4\)"):
        arena.load_state(still(5, "mage").state())
    with pytest.raises(ValueError, match="body"):
        arena.load_state(still(4, "mage", pack_size=3).state())


def test_a_decided_fight_keeps_its_row_and_stands_still() -> None:
    seeds = np.arange(32, dtype=np.uint64)
    arena = still(32, "support")
    arena.start(seeds)
    last, decided, turn = np.zeros((32, 5, 64), np.float32), np.zeros(32, bool), 0
    while arena.active.any():
        step = arena.step(orders_of(seeds, turn))
        assert not step.done[decided].any()
        assert (step.score[decided] == -1).all()
        assert (step.reward[decided] == 0).all()
        assert (step.observation[decided] == last[decided]).all()
        last[step.done] = step.observation[step.done]
        decided |= step.done
        turn += 1
    assert decided.all()


def test_a_decided_row_reopens_with_a_seed_of_its_own() -> None:
    """Row r plays seeds first + r, + rows, + 2 rows ...: what a row plays next does not depend on the others."""
    seeds = np.arange(6, dtype=np.uint64) + np.uint64(100)
    arena = PackArena(6, "aggressive", 5, 1.5)
    arena.start(seeds)
    ends = np.zeros(6, np.int64)
    for turn in range(30):
        step = arena.step(orders_of(seeds, turn))
        for row in np.flatnonzero(step.done):
            ends[row] += 1
            fresh = PackArena(1, "aggressive", 5, 1.5).start([100 + row + 6 * ends[row]])
            assert step.observation[row].tobytes() == fresh[0].tobytes()
    assert ends.min() >= 1


@settings(max_examples=25, deadline=None)
@given(
    archetype=st.sampled_from(sorted(ARCHETYPES)),
    level=st.integers(1, 5),
    pack=st.integers(2, 5),
    strength=st.floats(0.2, 3),
    seed=st.integers(0, 2**53),
    orders=st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=18),
)
def test_any_play_stays_finite_and_within_bounds(
    archetype: str, level: int, pack: int, strength: float, seed: int, orders: list[list[int]]
) -> None:
    arena = PackArena(1, archetype, level, strength, pack_size=pack, reopen=False)
    arena.start([seed])
    for told in orders:
        step = arena.step(np.array([told[:pack]], np.int64))
        assert step.observation.shape == (1, pack, 64)
        assert np.isfinite(step.observation).all()
        assert np.abs(step.observation).max() <= 3
        assert np.isfinite(arena.joint).all()
        assert np.abs(arena.joint).max() <= 3
        assert np.isfinite(step.reward).all()
        assert step.score[0] in ((0, 0.5, 1) if step.done[0] else (-1,))
        body = arena.state()["body"]
        assert (body[0:2] >= 0).all()
        assert (body[0:2] <= 24).all()
    assert len(orders) < 15 or not arena.active.any(), "no fight outlasts the tick limit"
