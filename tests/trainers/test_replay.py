from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainers.algorithms.environment import Cut
from trainers.algorithms.replay import PRIORITY_FLOOR, Kind, Replay, SumTrees

WIDTH = 3


def filled(rows: int, fights: int, n_step: int, steps: int, alpha: float = 0.6, seed: int = 0) -> Replay:
    """A replay after `steps` random time steps; state[0] tells the time step, state[1] the fight."""
    rng = np.random.default_rng(seed)
    replay = alone(rows, fights, n_step, alpha)
    for t in range(steps):
        state = np.zeros((1, fights, WIDTH), np.float32)
        state[..., 0], state[..., 1] = t, np.arange(fights)
        reward = rng.random((1, fights), dtype=np.float32)
        replay.add(state, rng.integers(0, 10, (1, fights)), reward, rng.random((1, fights)) < 0.2)
    return replay


def alone(rows: int, fights: int, n_step: int, alpha: float = 0.6, gamma: float = 0.9) -> Replay:
    return Replay([Kind(n_step, gamma, alpha)], rows, fights, WIDTH)


def drawn_from(replay: Replay, uniforms: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Of the only candidate: what was drawn, and how much it counts."""
    drawn = replay.draw(uniforms[None], np.array([[beta]]))
    return drawn.index[0], drawn.weight[0]


def everything_drawn(replay: Replay, draws: int = 4096) -> np.ndarray:
    return np.unique(drawn_from(replay, np.random.default_rng(1).random(draws), 0.5)[0])


def leaf_nodes(trees: SumTrees, index: np.ndarray, tree: int = 0) -> np.ndarray:
    return trees.first[tree] + index


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_root_of_the_tree_is_the_sum_of_its_leaves(values: list[float], random) -> None:
    tree = SumTrees(1, len(values))
    order = list(range(len(values)))
    random.shuffle(order)
    for index in order:
        tree.set(leaf_nodes(tree, np.array([index])), np.array([values[index]]))
    assert tree.totals.item() == pytest.approx(sum(values))
    assert tree.leaves(0).tolist() == values


@given(
    st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.3, 1.0, 1e9]), min_size=1, max_size=33).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
@example([0.3, 0.0], [0.0, 0.0, 1.0 - 2.0**-53])  # the last draw's mass is rounded up to the whole
def test_a_leaf_without_mass_is_never_drawn(values: list[float], uniforms: list[float]) -> None:
    tree = SumTrees(1, len(values))
    tree.set(leaf_nodes(tree, np.arange(len(values))), np.array(values))
    drawn = tree.draw(np.array([uniforms])) - tree.first
    assert all(values[index] > 0 for index in drawn[0])


def test_leaves_are_drawn_in_proportion_to_their_mass() -> None:
    tree = SumTrees(1, 5)
    tree.set(leaf_nodes(tree, np.arange(5)), np.array([1.0, 0.0, 3.0, 4.0, 2.0]))
    drawn = tree.draw(np.random.default_rng(0).random((1, 100_000))) - tree.first
    counts = np.bincount(drawn[0], minlength=5)
    assert np.abs(counts / 100_000 - np.array([0.1, 0.0, 0.3, 0.4, 0.2])).max() < 1e-3


def test_filling_neighbours_is_the_same_as_setting_each_of_them() -> None:
    rng = np.random.default_rng(2)
    filled, each = SumTrees(3, 48), SumTrees(3, 48)
    for _ in range(50):
        start, values = 8 * int(rng.integers(6)), rng.random((2, 1))
        filled.fill([0, 2], start, 8, values)
        for tree, value in zip([0, 2], values[:, 0], strict=True):
            each.set(leaf_nodes(each, np.arange(start, start + 8), tree), np.full(8, value))
        assert filled._node.tolist() == each._node.tolist()


def test_the_leaves_alone_restore_the_tree_bit_for_bit() -> None:
    rng = np.random.default_rng(3)
    trees, restored = SumTrees(2, 40), SumTrees(2, 40)
    for _ in range(30):
        trees.set(leaf_nodes(trees, rng.integers(0, 40, 5), 1), np.full(5, rng.random()))
    restored.set(leaf_nodes(restored, np.arange(3), 1), np.ones(3))
    restored.restore(1, trees.leaves(1).copy())
    # what lies above the roots is of no tree
    assert restored.totals.tobytes() == trees.totals.tobytes()
    assert restored.draw(np.full((2, 9), 0.5))[1].tolist() == trees.draw(np.full((2, 9), 0.5))[1].tolist()


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 5), st.booleans())
def test_a_return_is_the_discounted_sum_of_the_rewards_up_to_the_end_of_its_fight_or_where_a_clock_cut_it_short(
    n_step: int, steps: int, seed: int, clock: bool
) -> None:
    gamma, rows, fights = 0.9, 8, 4
    rng = np.random.default_rng(seed)
    rewards = rng.random((steps, fights), dtype=np.float32)
    dones, cuts = (rng.random((2, steps, fights)) < 0.3) & [[[True]], [[clock]]]
    replay = alone(rows, fights, n_step, gamma=gamma)
    for t in range(steps):
        state = np.stack([np.full(fights, t), np.arange(fights), np.zeros(fights)], axis=1).astype(np.float32)
        replay.add(state[None], np.zeros((1, fights), np.int64), rewards[None, t], (dones | cuts)[None, t])
        if cuts[t].any():
            replay.cut(0, Cut(np.flatnonzero(cuts[t]), state[cuts[t]] + [0, 0, 1]))
    if replay.sizes.item() == 0:
        assert steps <= n_step
        return
    index = everything_drawn(replay)
    followed = replay.returns(index[None])
    for place, leaf in enumerate(index):
        t, fight = int(replay.states[leaf, 0]), int(replay.states[leaf, 1])
        expected, discount, after = 0.0, 0.0, [t + n_step, fight, 0]
        for k in range(n_step):
            expected += gamma**k * float(rewards[t + k, fight])
            if cuts[t + k, fight]:
                discount, after = gamma ** (k + 1), [t + k, fight, 1]
            if cuts[t + k, fight] or dones[t + k, fight]:
                break
        else:
            discount = gamma**n_step
        assert followed.reward[0, place] == pytest.approx(expected, rel=1e-5)
        assert followed.discount[0, place] == pytest.approx(discount)
        if discount:
            assert replay.states[followed.next_index[0, place]].tolist() == after


@pytest.mark.parametrize("steps", [3, 4, 8, 9, 20])
def test_only_transitions_whose_next_state_is_stored_are_drawn_and_all_of_those(steps: int) -> None:
    replay = filled(rows=8, fights=4, n_step=2, steps=steps)
    times = sorted({int(t) for t in replay.states[everything_drawn(replay), 0]})
    assert times == list(range(max(0, steps - 8), steps - 2))
    assert replay.sizes.tolist() == [[len(everything_drawn(replay))]]


def test_a_transition_learnt_from_is_drawn_in_proportion_to_its_error() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=8, alpha=1.0)
    index = everything_drawn(replay)
    replay.update(index[None], np.zeros((1, len(index)), np.float32))
    replay.update(index[None, :1], np.array([[1.0]], np.float32))
    drawn, _ = drawn_from(replay, np.random.default_rng(0).random(20_000), 1.0)
    share = float((drawn == index[0]).mean())
    mass = 1.0 + PRIORITY_FLOOR
    assert share == pytest.approx(mass / (mass + (len(index) - 1) * PRIORITY_FLOOR), rel=0.02)


def test_a_new_transition_has_the_largest_priority_ever_seen() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=5, alpha=1.0)
    index = everything_drawn(replay)
    replay.update(index[None], np.full((1, len(index)), 9.0, np.float32))
    replay.update(index[None], np.zeros((1, len(index)), np.float32))
    replay.add(
        np.full((1, 4, WIDTH), 5, np.float32),
        np.zeros((1, 4), np.int64),
        np.zeros((1, 4), np.float32),
        np.zeros((1, 4), np.bool_),
    )
    priorities = replay.state(0)["priorities"]
    assert priorities[index] == pytest.approx(np.full(len(index), PRIORITY_FLOOR))
    assert priorities[16:20] == pytest.approx(np.full(4, 9.0 + PRIORITY_FLOOR))


def test_importance_weights_undo_the_skew_of_the_draw() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=8, alpha=0.8)
    index = everything_drawn(replay)
    replay.update(index[None], np.arange(1, len(index) + 1, dtype=np.float32)[None])
    drawn, weight = drawn_from(replay, np.random.default_rng(0).random(200_000), 1.0)
    mass = np.bincount(drawn, weight, minlength=32)[index]
    assert mass / mass.mean() == pytest.approx(np.ones(len(index)), rel=0.1)
    assert weight.max() == 1.0


def test_alpha_zero_draws_uniformly_whatever_the_errors() -> None:
    replay = filled(rows=8, fights=4, n_step=1, steps=8, alpha=0.0)
    index = everything_drawn(replay)
    replay.update(index[None, :5], np.full((1, 5), 50.0, np.float32))
    drawn, weight = drawn_from(replay, np.random.default_rng(0).random(28_000), 0.5)
    assert np.bincount(drawn, minlength=32)[index] == pytest.approx(np.full(len(index), 1000), rel=0.01)
    assert weight.tolist() == [1.0] * 28_000


@pytest.mark.parametrize("steps", [1, 5, 8, 19])
def test_a_restored_replay_draws_and_learns_as_the_one_it_was_saved_from(steps: int) -> None:
    replay = filled(rows=8, fights=4, n_step=2, steps=steps)
    if replay.sizes.item():
        index = everything_drawn(replay)[None]
        replay.update(index, np.linspace(0, 3, index.size).astype(np.float32)[None])
        replay.cut(0, Cut(np.array([1, 3]), np.full((2, WIDTH), 7, np.float32)))
    restored = filled(rows=8, fights=4, n_step=2, steps=0, seed=9)
    restored.load_state(0, {name: np.copy(value) for name, value in replay.state(0).items()})
    rng = np.random.default_rng(5)
    for _ in range(12):
        assert step(replay, [0], copy.deepcopy(rng)) == step(restored, [0], rng)


def step(replay: Replay, who: list[int], rng: np.random.Generator, learns: bool = True) -> list[list[bytes]]:
    """Something happens to each candidate, by its number; a batch is drawn and learnt from, and told candidate by
    candidate."""
    drawn_numbers = rng.random((4, 64))  # four candidates, of whom `who` are there
    state, action = rng.random((4, 4, WIDTH), dtype=np.float32), rng.integers(0, 10, (4, 4))
    reward, done = rng.random((4, 4), dtype=np.float32), rng.random((4, 4)) < 0.3
    error = rng.random((4, 64), dtype=np.float32) * np.arange(1, 5, dtype=np.float32)[:, None]
    cuts, where = rng.random((4, 4)) < 0.2, rng.random((4, 4, WIDTH), dtype=np.float32)
    replay.add(state[who], action[who], reward[who], (done | cuts)[who])
    for place, k in enumerate(who):
        if k != 1 and cuts[k].any():
            replay.cut(place, Cut(np.flatnonzero(cuts[k]), where[k][cuts[k]]))
    if not learns or not replay.sizes.all():
        return []
    drawn = replay.draw(drawn_numbers[who], np.array([[0.4], [0.5], [0.6], [0.7]])[who])
    followed = replay.returns(drawn.index)
    replay.update(drawn.index, error[who])
    after = replay.states[followed.next_index] * followed.discount[..., None]
    told = (drawn.weight, followed.reward, followed.discount, replay.states[drawn.index], replay.actions[drawn.index])
    return [[part[k].tobytes() for part in (*told, after)] for k in range(len(who))]


KINDS = [Kind(3, 0.9, 0.6), Kind(1, 0.99, 0.0), Kind(2, 0.5, 1.0), Kind(3, 0.95, 0.5)]


@pytest.mark.parametrize("who", [[2], [1, 2], [3, 2, 0], [0, 1, 2, 3]])
def test_a_candidates_replay_is_the_same_bits_whoever_shares_it(who: list[int]) -> None:
    alone_at_2, shared = Replay(KINDS[2:3], 8, 4, WIDTH), Replay([KINDS[k] for k in who], 8, 4, WIDTH)
    rng, same = np.random.default_rng(6), np.random.default_rng(6)
    for t in range(25):
        own, all_of_them = step(alone_at_2, [2], rng, t >= 3), step(shared, who, same, t >= 3)
        assert not own or own[0] == all_of_them[who.index(2)]
    assert own
    saved, shared_state = alone_at_2.state(0), shared.state(who.index(2))
    assert all(np.array_equal(saved[name], shared_state[name]) for name in saved)


def test_every_batch_of_a_drawing_is_spread_over_all_strata() -> None:
    replay = filled(rows=9, fights=4, n_step=1, steps=9, alpha=0.0)
    drawn = replay.draw(np.full((1, 32), 0.5), np.array([[0.5]]), batches=4)
    strata = drawn_from(replay, np.full(32, 0.5), 0.5)[0]
    assert len(set(strata.tolist())) == 32
    assert drawn.index.reshape(4, 8).tolist() == [strata[batch::4].tolist() for batch in range(4)]


def test_of_a_transition_that_was_drawn_twice_the_last_error_counts() -> None:
    replay, once = (filled(rows=8, fights=4, n_step=1, steps=8, alpha=1.0) for _ in range(2))
    replay.update(np.array([[4, 5, 4]]), np.array([[9.0, 1.0, 2.0]], np.float32))
    once.update(np.array([[5, 4]]), np.array([[1.0, 2.0]], np.float32))
    assert replay.state(0)["priorities"].tolist() == once.state(0)["priorities"].tolist()
    assert replay._trees.totals.item() == once._trees.totals.item()


def test_a_width_that_no_tree_can_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        alone(rows=8, fights=6, n_step=1)
    with pytest.raises(ValueError, match="more than 3 steps"):
        alone(rows=3, fights=4, n_step=3)
