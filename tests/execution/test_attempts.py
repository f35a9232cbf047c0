from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import Budget, Status
from supervisor.execution.attempts import LONGEST_PAUSE_S, back_off_s, exhausted, remaining


def test_three_attempts_in_a_row_that_saved_nothing_new_are_enough() -> None:
    assert not exhausted([("", True)] * 2)
    assert exhausted([("", True)] * 3)


def test_an_attempt_that_saved_something_does_not_count() -> None:
    assert not exhausted([("a", True), ("a", True), ("a", True)])
    assert exhausted([("a", True), ("a", True), ("a", True), ("a", True)])


def test_progress_starts_the_count_again() -> None:
    assert not exhausted([("", True), ("", True), ("a", True), ("a", True), ("a", True)])


def test_a_trial_that_gets_further_each_time_goes_on_for_ever() -> None:
    assert not exhausted([(str(number), True) for number in range(1000)])


def test_an_end_that_does_not_count_neither_adds_nor_clears() -> None:
    assert not exhausted([("", True), ("", True), ("", False), ("", False)])
    assert exhausted([("", True), ("", False), ("", True), ("", False), ("", True)])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans())))
def test_what_an_attempt_saved_is_what_differs_from_the_one_before(history: list[tuple[str, bool]]) -> None:
    tail: list[bool] = []
    for before, (mark, counts) in zip(["", *[mark for mark, _ in history]], history, strict=False):
        tail = [] if mark != before else [*tail, counts]
    assert exhausted(history) == (sum(tail) >= 3)


def test_five_failures_in_a_row_begin_the_pauses_which_double() -> None:
    pauses = [back_off_s([Status.COMPLETE] + [Status.FAILED] * count) for count in range(9)]
    assert pauses == [0, 0, 0, 0, 0, 60, 120, 240, 480]


def test_a_trial_that_comes_through_ends_the_pauses() -> None:
    assert back_off_s([Status.FAILED] * 20 + [Status.PRUNED]) == 0


@given(st.lists(st.sampled_from(Status)))
def test_a_further_failure_never_shortens_a_pause_and_none_is_endless(statuses: list[Status]) -> None:
    pause_s = back_off_s(statuses)
    assert 0 <= pause_s <= back_off_s([*statuses, Status.FAILED]) <= LONGEST_PAUSE_S
    assert back_off_s([*statuses, Status.COMPLETE]) == 0


@given(wall_s=st.floats(1, 1e6), used_s=st.floats(0, 1e7))
def test_what_is_left_of_a_wall_budget_is_never_quite_nothing(wall_s: float, used_s: float) -> None:
    budget = Budget(steps=5, wall_s=wall_s, ram_mb=7)
    left = remaining(budget, used_s, used_s)
    assert left.wall_s == max(1.0, wall_s - used_s)
    assert (left.steps, left.ram_mb, left.gpu_s) == (5, 7, None)
    assert remaining(replace(budget, gpu_s=wall_s), 0.0, used_s).gpu_s == left.wall_s
