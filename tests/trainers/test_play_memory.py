"""The memory of recorded play: returns within an episode, priorities, and that it is restored bit for bit."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.experience.rows import Experiences, joined
from trainers import weights
from trainers.algorithms.from_play.holdout import held_out
from trainers.algorithms.from_play.memory import Drawn, PlayMemory

GAMMA = 0.5


def step(episode: int, number: int, reward: float = 1.0, done: bool = False, priority: float = 1.0) -> Experiences:
    """What is seen is [episode, number]."""
    seen, then = [[episode, number]], [[episode, number + 1]]
    names = {"episodes": [episode], "steps": [number], "priorities": [priority]}
    return Experiences.of(seen, [number % 3], [reward], then, [done], time_us=1, **names)


def memory_of(*steps: Experiences, rows: int = 8, alpha: float = 0.0) -> PlayMemory:
    made = PlayMemory(rows, 2, 0, GAMMA, alpha)
    for each in steps:
        made.add(each)
    return made


def told(drawn: Drawn) -> list[tuple[float, float, list[float]]]:
    return list(zip(drawn.returns.tolist(), drawn.discount.tolist(), drawn.next_states.tolist(), strict=True))


def test_rewards_are_summed_over_the_steps_of_one_episode_however_they_lie_mixed() -> None:
    memory = memory_of(step(1, 0), step(2, 0, 8), step(1, 1), step(2, 1, 8), step(1, 2))
    found = told(memory.newest(3))
    assert found[0] == (1.75, 0.125, [1, 3])
    assert found[1] == (12, 0.25, [2, 2])
    assert found[4] == (1, 0.5, [1, 3])


def test_a_step_that_arrives_late_closes_the_gap_that_it_left() -> None:
    memory = memory_of(step(1, 0), step(1, 2))
    assert told(memory.newest(3))[0] == (1, 0.5, [1, 1])
    memory.add(step(1, 1))
    assert told(memory.newest(3))[0] == (1.75, 0.125, [1, 3])


def test_where_an_episode_ends_nothing_follows() -> None:
    memory = memory_of(step(1, 0), step(1, 1, done=True), step(1, 2))
    assert [row[:2] for row in told(memory.newest(3))] == [(1.5, 0), (1, 0), (1, 0.5)]


def test_steps_of_unknown_episodes_follow_nothing() -> None:
    memory = memory_of(step(0, 0), step(0, 1))
    assert [row[:2] for row in told(memory.newest(3))] == [(1, 0.5), (1, 0.5)]


def test_what_was_overwritten_is_followed_no_more() -> None:
    memory = memory_of(step(1, 1), step(1, 0), step(2, 0), step(2, 1), rows=3)  # the last takes the first's place
    assert [row[:2] for row in told(memory.newest(3))] == [(1, 0.5), (1.5, 0.25), (1, 0.5)]


def test_a_step_whose_predecessor_was_overwritten_does_not_take_over_what_lies_there_now() -> None:
    memory = memory_of(step(1, 0), step(5, 0), step(5, 5), step(6, 0), step(3, 0), step(3, 1), step(1, 1), rows=4)
    assert [row[:2] for row in told(memory.newest(3))] == [(1, 0.5), (1.5, 0.25), (1, 0.5), (1, 0.5)]


def test_of_a_step_that_comes_twice_the_later_is_followed() -> None:
    memory = memory_of(step(1, 1, 2), step(1, 1, 4), step(1, 0))
    assert told(memory.newest(2))[2][0] == 3


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans()), min_size=1, max_size=40), st.data())
def test_the_returns_are_those_of_a_search_through_everything_that_is_remembered(
    names: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    rows = [step(episode, number, 2.0**k, done) for k, (episode, number, done) in enumerate(names)]
    memory = PlayMemory(10, 2, 0, GAMMA)
    for part in _cut(rows, data):
        memory.add(part)
    kept = rows[-10:]
    newest = {(int(row.episodes[0]), int(row.steps[0])): row for row in kept}
    for row, (returns, discount, _) in zip(kept, told(memory.newest(3)), strict=True):
        if newest[int(row.episodes[0]), int(row.steps[0])] is row:  # an older one of two may be followed by either
            assert (returns, discount) == _searched(row, newest, 3)


def _cut(rows: list[Experiences], data: st.DataObject) -> list[Experiences]:
    ends = sorted({data.draw(st.integers(0, len(rows))) for _ in range(4)} | {0, len(rows)})
    return [joined(rows[begin:end]) for begin, end in pairwise(ends)]


def _searched(row: Experiences, newest: dict[tuple[int, int], Experiences], n_step: int) -> tuple[float, float]:
    total, discount = 0.0, 1.0
    for _ in range(n_step):
        total, discount = total + discount * float(row.rewards[0]), discount * GAMMA
        following = newest.get((int(row.episodes[0]), int(row.steps[0]) + 1))
        if row.done[0]:
            return total, 0.0
        if following is None or not row.episodes[0]:
            break
        row = following
    return total, discount


def test_rows_are_drawn_in_proportion_to_their_priorities_and_count_for_less_the_more_often_they_are() -> None:
    memory = memory_of(step(1, 0), step(1, 1), alpha=1.0)
    memory.update(np.array([0, 1]), np.array([3.0, 1.0], np.float32))
    drawn = memory.draw(np.full(400, 0.5), 1.0, 1)
    assert (drawn.index == 0).sum() == pytest.approx(300, abs=1)
    assert drawn.weight[drawn.index == 0] == pytest.approx(2 / 3, abs=1e-2)
    assert drawn.weight[drawn.index == 1] == pytest.approx(2.0, abs=1e-2)


def test_what_the_game_calls_important_is_drawn_more_often_at_first() -> None:
    memory = memory_of(step(1, 0), step(1, 1, priority=3.0), alpha=1.0)
    assert (memory.draw(np.full(400, 0.5), 1.0, 1).index == 1).sum() == 300


def test_what_is_new_counts_as_being_off_as_far_as_any() -> None:
    memory = memory_of(step(1, 0), step(1, 1), alpha=1.0)
    memory.update(np.array([0, 1]), np.array([6.0, 1.0], np.float32))
    memory.add(step(2, 0))
    drawn = memory.draw(np.full(1300, 0.5), 1.0, 1)
    assert np.bincount(drawn.index) == pytest.approx(np.array([600, 100, 600]), abs=2)


def test_restored_it_knows_which_of_two_equal_steps_came_later() -> None:
    whole = memory_of(step(9, 9), step(1, 1, 2), step(9, 7), step(9, 5), step(1, 1, 4), rows=4)
    again = PlayMemory(4, 2, 0, GAMMA)
    again.load_state(weights.unpack(weights.pack({"it": whole.state()}))["it"])  # type: ignore[arg-type]
    for memory in (whole, again):
        memory.add(step(9, 3))
        memory.add(step(1, 0))
        assert told(memory.newest(2))[3][0] == 3


def test_restored_it_is_the_same_memory_and_goes_on_as_the_same() -> None:
    rows = [step(k % 5, k // 5, k, k % 7 == 0) for k in range(40)]
    whole = memory_of(*rows[:30], rows=16, alpha=0.6)
    whole.update(np.arange(5), np.arange(5, dtype=np.float32))
    again = memory_of(step(9, 9), rows=16, alpha=0.6)
    again.load_state(weights.unpack(weights.pack({"it": whole.state()}))["it"])  # type: ignore[arg-type]
    for row in rows[30:]:
        whole.add(row)
        again.add(row)
    uniforms = np.random.default_rng(0).random(64)
    for one, other in (
        (whole.draw(uniforms, 0.5, 3), again.draw(uniforms, 0.5, 3)),
        (whole.newest(9), again.newest(9)),
    ):
        assert all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Drawn))


def episodes(numbers: object, time_us: object = 1) -> Experiences:
    count = np.size(numbers)
    states = np.zeros((count, 1), np.float32)
    names = {"episodes": numbers, "times": time_us}
    return Experiences.of(
        states, np.zeros(count, int), np.zeros(count), states, np.zeros(count, bool), time_us=1, **names
    )


def test_an_episode_is_held_out_whole_and_always_and_the_share_is_kept() -> None:
    apart = held_out(episodes(np.arange(1, 20_001)), 0.1)
    assert apart.mean() == pytest.approx(0.1, abs=0.01)
    assert np.array_equal(held_out(episodes(np.repeat(np.arange(1, 101), 7)), 0.1), np.repeat(apart[:100], 7))
    assert np.flatnonzero(apart)[:5].tolist() == [9, 17, 20, 40, 47]  # whatever runs it


def test_no_episode_is_held_out_of_a_share_of_nothing() -> None:
    assert not held_out(episodes(np.arange(1000)), 0.0).any()


def test_steps_of_unknown_episodes_are_held_out_by_their_time() -> None:
    apart = held_out(episodes(np.zeros(6000, int), np.arange(6000)), 0.1)
    assert apart.mean() == pytest.approx(0.1, abs=0.02)
