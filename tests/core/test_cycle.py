"""Which targets have a lesson in a cycle, and of how much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.cycle import BALANCE, Pupil, in_turn, shares

PUPILS = st.lists(
    st.builds(
        Pupil,
        st.builds("{}/{}".format, st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"])),
        st.sampled_from(["high", "medium", "low"]),
        st.just(0),
        st.integers(0, 10_000),
    ),
    unique_by=lambda pupil: pupil.target,
)


def turns(frequency, cycles):
    last, found = 0, []
    for cycle in range(1, cycles + 1):
        if in_turn([Pupil("a/x", frequency, last)], cycle):
            last = cycle
            found.append(cycle)
    return found


def test_a_high_target_is_due_in_every_cycle_a_medium_one_in_every_third_a_low_one_in_every_tenth():
    assert turns("high", 4) == [1, 2, 3, 4]
    assert turns("medium", 10) == [1, 4, 7, 10]
    assert turns("low", 22) == [1, 11, 21]


def test_a_target_that_had_nothing_to_learn_when_it_was_due_stays_due():
    assert in_turn([Pupil("a/x", "medium", 3)], 9) == [Pupil("a/x", "medium", 3)]


def test_only_those_with_enough_have_a_lesson_and_none_gets_more_than_the_most():
    pupils = [Pupil("a/x", "high", 0, 999), Pupil("a/y", "high", 0, 1000), Pupil("a/z", "high", 0, 9000)]
    found = shares(pupils, 1000, 5000, balanced=True)
    assert [(share.target, share.rows) for share in found] == [("a/y", 1000), ("a/z", 5000)]


def test_archetypes_take_turns_and_the_one_with_the_least_bounds_the_others():
    pupils = [Pupil(f"{a}/{m}", "high", 0, rows) for a, rows in (("a", 90_000), ("b", 1000)) for m in ("x", "y")]
    balanced = shares(pupils, 500, 10**6, balanced=True)
    assert [share.target for share in balanced] == ["a/x", "b/x", "a/y", "b/y"]
    assert {share.rows for share in balanced} == {1000, BALANCE * 1000}
    plain = shares(pupils, 500, 10**6, balanced=False)
    assert [share.target for share in plain] == ["a/x", "a/y", "b/x", "b/y"]
    assert {share.rows for share in plain} == {1000, 90_000}


def test_classes_that_come_often_come_first():
    pupils = [Pupil("a/x", "low", 0, 10), Pupil("a/y", "high", 0, 10), Pupil("a/z", "medium", 0, 10)]
    assert [share.target for share in shares(pupils, 1, 100, balanced=False)] == ["a/y", "a/z", "a/x"]


@given(PUPILS, st.integers(1, 5000), st.integers(1, 20_000), st.booleans())
def test_whatever_there_is_everybody_with_enough_has_one_lesson_of_what_it_has_and_order_is_no_accident(
    pupils, at_least, at_most, balanced
):
    found = shares(pupils, at_least, at_most, balanced)
    new = {pupil.target: pupil.new_rows for pupil in pupils}
    assert sorted(share.target for share in found) == sorted(key for key, rows in new.items() if rows >= at_least)
    assert all(1 <= share.rows <= min(at_most, new[share.target]) for share in found)
    assert found == shares(list(reversed(pupils)), at_least, at_most, balanced)
