"""The opponent's level rises when the incumbent has outgrown it, and never falls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.settings import CurriculumSettings
from supervisor.contract import Tally
from supervisor.curriculum import at_level, level_now, step_after
from supervisor.state import TargetState

ON = CurriculumSettings()
GOOD, POOR = Tally(170, 0, 30), Tally(159, 0, 41)


def test_a_measured_rate_that_reaches_the_threshold_raises_the_level_and_says_why() -> None:
    step = step_after(ON, 3, 3, 5, GOOD, None)
    assert (step.level, step.reason) == (4, "85.0 % of 200 games reach its 80 %")
    assert step_after(ON, 3, 3, 5, POOR, None).level == 3


@pytest.mark.parametrize(
    ("settings", "level", "highest", "pool"),
    [
        (CurriculumSettings(enabled=False), 3, 5, GOOD),
        (CurriculumSettings(num_levels=3), 3, 5, GOOD),
        (CurriculumSettings(min_games=201), 3, 5, GOOD),
        (ON, 5, 5, GOOD),
        (ON, 1, 1, GOOD),
        (ON, 0, 5, GOOD),
        (ON, 3, 5, Tally()),
    ],
    ids=["off", "highest level of the settings", "too few games", "last level", "no levels", "external", "no games"],
)
def test_it_stays_where_nothing_calls_for_another(settings, level, highest, pool) -> None:
    step = step_after(settings, level, level, highest, pool, None)
    assert (step.level, step.reason) == (level, "")


def test_by_reward_the_documents_thresholds_count() -> None:
    settings = CurriculumSettings(by="reward")
    assert settings.level_thresholds == (50, 100, 200, 400, 800)
    for level, bound in enumerate(settings.level_thresholds[:4], start=1):
        assert step_after(settings, level, level, 5, GOOD, bound).level == level + 1
        assert step_after(settings, level, level, 5, GOOD, bound - 0.1).level == level
        assert step_after(settings, level, level, 5, GOOD, None).level == level


def test_a_line_that_was_in_flight_while_the_level_rose_does_not_lower_it_or_tell_of_it_again() -> None:
    assert step_after(ON, 3, 4, 5, GOOD, None) == step_after(ON, 3, 4, 5, POOR, None)
    assert (step_after(ON, 3, 4, 5, GOOD, None).level, step_after(ON, 3, 4, 5, GOOD, None).reason) == (4, "")


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 300), st.integers(0, 300))
def test_a_step_is_up_by_one_at_most_and_never_below_what_is_due(level, due, wins, losses) -> None:
    step = step_after(ON, level, due, 5, Tally(wins, 0, losses), None)
    assert max(level, due) <= step.level <= max(level + 1, due)
    assert step.level <= 5


def test_what_was_measured_at_another_level_counts_for_nothing() -> None:
    target = TargetState(iterations=4, pool=GOOD, pools={"v000001": GOOD}, level=3, next_level=4)
    assert at_level(target, 3) is target
    assert (at_level(target, 4).pool, dict(at_level(target, 4).pools)) == (Tally(), {})
    assert (level_now(target, 3), level_now(target, 5), level_now(TargetState(), 2)) == (4, 5, 2)
