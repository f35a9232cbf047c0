from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainers.algorithms.replay import PRIORITY_FLOOR, Replay, SumTree

WIDTH = 3


def filled(rows: int, fights: int, n_step: int, steps: int, alpha: float = 0.6, seed: int = 0) -> Replay:
    """A replay after `steps` random time steps; state[0] tells the time step, state[1] the fight."""
    rng = np.random.default_rng(seed)
    replay = Replay(rows, fights, WIDTH, n_step, alpha)
    for t in range(steps):
        state = np.zeros((fights, WIDTH), np.float32)
        state[:, 0], state[:, 1] = t, np.arange(fights)
        reward = rng.random(fights, dtype=np.float32)
        replay.add(state, rng.integers(0, 10, fights), reward, rng.random(fights) < 0.2)
    return replay


def everything_drawn(replay: Replay, draws: int = 4096) -> np.ndarray:
    return np.unique(replay.draw(np.random.default_rng(1).random(draws), 0.5).index)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_root_of_the_tree_is_the_sum_of_its_leaves(values: list[float], random) -> None:
    tree = SumTree(len(values))
    order = list(range(len(values)))
    random.shuffle(order)
    for index in order:
        tree.set(np.array([index]), np.array([values[index]]))
    assert tree.total == pytest.approx(sum(values))
    assert tree.leaves.tolist() == values


@given(
    st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.3, 1.0, 1e9]), min_size=1, max_size=33).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
@example([0.3, 0.0], [0.0, 0.0, 1.0 - 2.0**-53])  # the last draw's mass is rounded up to the whole
def test_a_leaf_without_mass_is_never_drawn(values: list[float], uniforms: list[float]) -> None:
    tree = SumTree(len(values))
    tree.set(np.arange(len(values)), np.array(values))
    drawn = tree.draw(np.array(uniforms))
    assert all(values[index] > 0 for index in drawn)


def test_leaves_are_drawn_in_proportion_to_their_mass() -> None:
    tree = SumTree(5)
    tree.set(np.arange(5), np.array([1.0, 0.0, 3.0, 4.0, 2.0]))
    counts = np.bincount(tree.draw(np.random.default_rng(0).random(100_000)), minlength=5)
    assert np.abs(counts / 100_000 - np.array([0.1, 0.0, 0.3, 0.4, 0.2])).max() < 1e-3


def test_filling_neighbours_is_the_same_as_setting_each_of_them() -> None:
    rng = np.random.default_rng(2)
    filled_tree, set_tree = SumTree(48), SumTree(48)
    for _ in range(50):
        start, value = 8 * int(rng.integers(6)), float(rng.random())
        filled_tree.fill(start, 8, value)
        set_tree.set(np.arange(start, start + 8), np.full(8, value))
        assert filled_tree._node.tolist() == set_tree._node.tolist()


def test_the_leaves_alone_restore_the_tree_bit_for_bit() -> None:
    rng = np.random.default_rng(3)
    tree, restored = SumTree(40), SumTree(40)
    for _ in range(30):
        tree.set(rng.integers(0, 40, 5), np.full(5, rng.random()))
    restored.restore(tree.leaves.copy())
    assert restored._node.tobytes() == tree._node.tobytes()


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 5))
def test_a_return_is_the_discounted_sum_of_the_rewards_up_to_the_end_of_its_fight(
    n_step: int, steps: int, seed: int
) -> None:
    gamma, rows, fights = 0.9, 8, 4
    rng = np.random.default_rng(seed)
    rewards = rng.random((steps, fights), dtype=np.float32)
    dones = rng.random((steps, fights)) < 0.3
    replay = Replay(rows, fights, WIDTH, n_step, 0.6)
    for t in range(steps):
        state = np.stack([np.full(fights, t), np.arange(fights), np.zeros(fights)], axis=1).astype(np.float32)
        replay.add(state, np.zeros(fights, np.int64), rewards[t], dones[t])
    if replay.size == 0:
        assert steps <= n_step
        return
    index = everything_drawn(replay)
    followed = replay.returns(index, gamma)
    for place, leaf in enumerate(index):
        t, fight = int(replay.states[leaf, 0]), int(replay.states[leaf, 1])
        expected, alive = 0.0, 1.0
        for k in range(n_step):
            expected += alive * gamma**k * float(rewards[t + k, fight])
            alive *= 1.0 - dones[t + k, fight]
        assert followed.reward[place] == pytest.approx(expected, rel=1e-5)
        assert followed.discount[place] == pytest.approx(alive * gamma**n_step)
        if alive:
            assert replay.states[followed.next_index[place], :2].tolist() == [t + n_step, fight]


@pytest.mark.parametrize("steps", [3, 4, 8, 9, 20])
def test_only_transitions_whose_next_state_is_stored_are_drawn_and_all_of_those(steps: int) -> None:
    replay = filled(rows=8, fights=4, n_step=2, steps=steps)
    times = sorted({int(t) for t in replay.states[everything_drawn(replay), 0]})
    assert times == list(range(max(0, steps - 8), steps - 2))
    assert replay.size == len(everything_drawn(replay))


def test_a_transition_learnt_from_is_drawn_in_proportion_to_its_error() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=8, alpha=1.0)
    index = everything_drawn(replay)
    replay.update(index, np.zeros(len(index), np.float32))
    replay.update(index[:1], np.array([1.0], np.float32))
    drawn = replay.draw(np.random.default_rng(0).random(20_000), 1.0)
    share = float((drawn.index == index[0]).mean())
    mass = 1.0 + PRIORITY_FLOOR
    assert share == pytest.approx(mass / (mass + (len(index) - 1) * PRIORITY_FLOOR), rel=0.02)


def test_a_new_transition_has_the_largest_priority_ever_seen() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=5, alpha=1.0)
    index = everything_drawn(replay)
    replay.update(index, np.full(len(index), 9.0, np.float32))
    replay.update(index, np.zeros(len(index), np.float32))
    replay.add(
        np.full((4, WIDTH), 5, np.float32), np.zeros(4, np.int64), np.zeros(4, np.float32), np.zeros(4, np.bool_)
    )
    priorities = replay.state()["priorities"]
    assert priorities[index] == pytest.approx(np.full(len(index), PRIORITY_FLOOR))
    assert priorities[16:20] == pytest.approx(np.full(4, 9.0 + PRIORITY_FLOOR))


def test_importance_weights_undo_the_skew_of_the_draw() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=8, alpha=0.8)
    index = everything_drawn(replay)
    replay.update(index, np.arange(1, len(index) + 1, dtype=np.float32))
    drawn = replay.draw(np.random.default_rng(0).random(200_000), 1.0)
    mass = np.bincount(drawn.index, drawn.weight, minlength=32)[index]
    assert mass / mass.mean() == pytest.approx(np.ones(len(index)), rel=0.1)
    assert drawn.weight.max() == 1.0


def test_alpha_zero_draws_uniformly_whatever_the_errors() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=8, alpha=0.0)
    index = everything_drawn(replay)
    replay.update(index[:5], np.full(5, 50.0, np.float32))
    drawn = replay.draw(np.random.default_rng(0).random(28_000), 0.5)
    assert np.bincount(drawn.index, minlength=32)[index] == pytest.approx(np.full(len(index), 1000), rel=0.01)
    assert drawn.weight.tolist() == [1.0] * 28_000


@pytest.mark.parametrize("steps", [1, 5, 8, 19])
def test_a_restored_replay_draws_and_learns_as_the_one_it_was_saved_from(steps: int) -> None:
    replay = filled(rows=8, fights=4, n_step=2, steps=steps)
    if replay.size:
        index = everything_drawn(replay)
        replay.update(index, np.linspace(0, 3, len(index)).astype(np.float32))
    restored = filled(rows=8, fights=4, n_step=2, steps=0, seed=9)
    restored.load_state({name: np.copy(value) for name, value in replay.state().items()})
    rng = np.random.default_rng(5)
    for each in range(12):
        state = rng.random((4, WIDTH), dtype=np.float32)
        step = (state, np.full(4, each), rng.random(4, dtype=np.float32), rng.random(4) < 0.5)
        replay.add(*step)
        restored.add(*step)
        if replay.size:
            uniforms = rng.random(64)
            ours, theirs = replay.draw(uniforms, 0.4), restored.draw(uniforms, 0.4)
            assert ours.index.tolist() == theirs.index.tolist()
            assert ours.weight.tobytes() == theirs.weight.tobytes()
            assert (
                replay.returns(ours.index, 0.9).reward.tobytes() == restored.returns(ours.index, 0.9).reward.tobytes()
            )
            error = rng.random(64, dtype=np.float32)
            replay.update(ours.index, error)
            restored.update(ours.index, error)


def test_a_width_that_no_tree_can_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Replay(8, 6, WIDTH, 1, 0.6)
    with pytest.raises(ValueError, match="more than 3 steps"):
        Replay(3, 4, WIDTH, 3, 0.6)
