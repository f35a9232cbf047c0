"""Scored games: what a score may depend on, and what not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.arena_play import always, combat_scores
from trainers.arena.arena import Arena
from trainers.arena.rules import STRIKE, WAIT, Ints


def row_minded(observation: NDArray[np.float32]) -> Ints:
    """A policy whose answer depends on the row, as a matrix product's last bits may."""
    best = (observation[:, :10] * np.arange(1, 11)).sum(1) * 7 + np.arange(len(observation))
    return best.astype(np.int64) % 10


def test_scores_do_not_depend_on_how_games_are_grouped_into_calls() -> None:
    whole = combat_scores(row_minded, "aggressive", 1, 1000, 90, rows=32, strength=0.5)
    parts = [
        combat_scores(row_minded, "aggressive", 1, 1000 + begin, count, rows=32, strength=0.5)
        for begin, count in ((0, 7), (7, 50), (57, 33))
    ]
    assert whole.tolist() == np.concatenate(parts).tolist()
    assert 0 < whole.mean() < 1


def test_the_policy_is_always_asked_with_all_rows() -> None:
    shapes = set()

    def policy(observation: NDArray[np.float32]) -> Ints:
        shapes.add(observation.shape)
        return np.full(len(observation), STRIKE, np.int64)

    combat_scores(policy, "mage", 1, 5, 3, rows=16)
    assert shapes == {(16, 64)}


def test_what_the_policy_answers_in_rows_without_a_game_changes_nothing() -> None:
    def policy(observation: NDArray[np.float32]) -> Ints:
        answer = np.full(len(observation), STRIKE, np.int64)
        answer[5:] = rng.integers(0, 10, len(observation) - 5)
        return answer

    rng = np.random.default_rng(0)
    first = combat_scores(policy, "tank", 3, 32, 5, rows=16)
    assert first.tolist() == combat_scores(policy, "tank", 3, 32, 5, rows=16).tolist()


def test_scores_are_wins_draws_and_losses_in_the_order_of_the_seeds() -> None:
    strike = always(STRIKE)
    scores = combat_scores(strike, "aggressive", 1, 0, 20, rows=20, strength=0.7)
    backwards = [
        combat_scores(strike, "aggressive", 1, seed, 1, rows=20, strength=0.7)[0] for seed in range(19, -1, -1)
    ]
    assert scores.tolist() == backwards[::-1]
    assert len(set(scores)) > 1
    assert set(scores) <= {0.0, 0.5, 1.0}


def test_no_games_are_no_scores() -> None:
    assert combat_scores(always(WAIT), "mage", 1, 0, 0).shape == (0,)


def test_a_level_or_archetype_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="level 6 does not exist; levels go from 1 to 5"):
        Arena(4, "mage", 6)
    with pytest.raises(ValueError, match="archetype 'bard' does not exist; there are aggressive, defensive"):
        Arena(4, "bard", 1)


@pytest.mark.parametrize("actions", [[0, 1, 10], [0, -1, 3], [0, 1]])
def test_actions_that_do_not_exist_are_refused(actions: list[int]) -> None:
    arena = Arena(3, "mage", 1)
    arena.start([1, 2, 3])
    with pytest.raises(ValueError, match="3 integers from 0 to 9"):
        arena.step(np.array(actions, np.int64))
