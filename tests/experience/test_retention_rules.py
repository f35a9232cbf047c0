"""Which rows may leave a store: whatever the readers, the days and the settings are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.experience.caretaker import DAY_US, Day
from supervisor.experience.keeping import rules
from supervisor.experience.keeping.rules import READER_DAYS, Ages, Fate
from supervisor.experience.store import Position, Reader

NOW_US = 20_500 * DAY_US + 7
positions = st.builds(Position, st.integers(0, 5), st.integers(0, 50))
targets = st.sampled_from(["mage/combat_dqn", "tank/combat_dqn"])
readers = st.builds(
    Reader, st.text("abc", max_size=1), targets, positions, st.integers(NOW_US - 60 * DAY_US, NOW_US + DAY_US)
)
days = st.integers(0, 100).map(lambda ago: Day(NOW_US - NOW_US % DAY_US - ago * DAY_US, 5))
ages = st.builds(Ages, st.integers(1, 60), st.integers(1, 60))


@given(targets, positions, st.lists(readers), st.lists(days), ages)
def test_no_row_leaves_that_somebody_who_still_reads_has_not_read(target, newest, reading, there, limits):
    upto = rules.limit(target, newest, reading, NOW_US)
    for step in rules.steps(target, there, upto, NOW_US, limits):
        assert step.span.target == target
        assert step.span.upto <= newest
        for reader in reading:
            if reader.target == target and NOW_US - reader.seen_us <= READER_DAYS * DAY_US:
                assert step.span.upto <= reader.position


@given(days, ages)
def test_a_day_leaves_only_once_its_youngest_row_is_old_enough(day, limits):
    youngest_us = NOW_US - (day.begin_us + DAY_US - 1)
    found = rules.fate(day.begin_us, NOW_US, limits)
    if found is Fate.GONE:
        assert youngest_us > limits.retention_days * DAY_US
    elif found is Fate.COLD:
        assert limits.cold_days * DAY_US < youngest_us <= limits.retention_days * DAY_US
    else:
        assert youngest_us <= min(limits.cold_days, limits.retention_days) * DAY_US


@given(st.lists(days), ages)
def test_days_that_are_not_asked_for_have_no_fate(there, limits):
    before_us = rules.before_us(NOW_US, limits)
    for day in there:
        if rules.fate(day.begin_us, NOW_US, limits) is not None:
            assert day.begin_us + DAY_US <= before_us


def test_without_readers_all_there_is_may_leave():
    assert rules.limit("mage/combat_dqn", Position(3, 9), [], NOW_US) == Position(3, 9)


def test_a_cold_tier_that_begins_with_the_retention_gets_no_files():
    day = Day(NOW_US - NOW_US % DAY_US - 40 * DAY_US, 5)
    assert rules.fate(day.begin_us, NOW_US, Ages(30, 30)) is Fate.GONE
