"""The lines of a log as the course of each target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import Decision, Outcome, Reason, Status, Tally
from supervisor.promotion.wilson import wilson_interval
from supervisor.record import Record
from supervisor.reporting.course import COLUMNS, HELD_POINTS, Kind, _Walked, courses
from supervisor.state import State, fold
from tests.support.production_lines import START_S, TARGET, at, by_hand, first, gone_back, lesson, promoted, tried

LATE = Decision("none", Outcome.REJECT, Reason.INCUMBENT_GONE)  # of a rollback of what is not in production any more


def the_course(*records: Record, **options: object):
    [course] = courses(records, **options)
    return course


def test_every_way_into_production_is_told_apart():
    found = the_course(
        first(1),
        tried(2),
        promoted(3),
        promoted(4, lesson=lesson("0:0", "0:9", 9)),
        by_hand(5, "v000001"),
        gone_back(6, "v000004", "v000001"),
        gone_back(7, None, "v000004"),
    )
    assert [(change.iteration, change.kind, change.before, change.after.version) for change in found.changes] == [
        (1, Kind.FIRST, None, "v000001"),
        (3, Kind.SEARCH, "v000001", "v000003"),
        (4, Kind.LESSON, "v000003", "v000004"),
        (5, Kind.HAND, "v000004", "v000001"),
        (6, Kind.ROLLBACK, "v000001", "v000004"),
        (7, Kind.ROLLBACK, "v000004", None),
    ]
    assert [change.iteration for change in found.promotions] == [3, 4]
    assert found.gained == pytest.approx(0.08)


def test_what_was_proven_but_waits_for_the_operator_and_a_rollback_that_came_too_late_change_nothing():
    waits = promoted(2, promoted=False, reason=Reason.AWAITING_OPERATOR)
    found = the_course(first(1), waits, gone_back(3, None, "v000009", reason=Reason.INCUMBENT_GONE, decision=LATE))
    assert [change.iteration for change in found.changes] == [1]
    assert {point.version for point in found.points} == {"v000001"}


CHANGES = {
    "tried": lambda iteration, known: tried(iteration),
    "promoted": lambda iteration, known: promoted(iteration),
    "waits": lambda iteration, known: promoted(iteration, promoted=False, reason=Reason.AWAITING_OPERATOR),
    "hand": lambda iteration, known: by_hand(iteration, known[iteration % len(known)]),
    "back": lambda iteration, known: gone_back(iteration, known[0], known[-1]),
    "out": lambda iteration, known: gone_back(iteration, None, known[-1]),
    "late": lambda iteration, known: gone_back(iteration, None, known[-1], decision=LATE),
}


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=12))
def test_after_every_line_it_names_the_version_that_the_runs_own_fold_names(whats):
    lines, state = [first(1)], fold(State(), first(1))
    for iteration, what in enumerate(whats, start=2):
        lines.append(CHANGES[what](iteration, [line.version for line in lines if line.promoted]))
        state = fold(state, lines[-1])
        incumbent = state.target(TARGET).incumbent
        assert the_course(*lines).present.version == (incumbent.name if incumbent else None)


def test_the_curve_is_the_measured_rate_with_the_interval_of_the_games_that_measured_it():
    found = the_course(first(1, pool=Tally(5, 0, 45), best_win_rate=0.1), tried(2, pool=Tally(6, 2, 62)))
    start = found.first
    assert (start.at_s, start.rate) == (START_S + 60, 0.1)
    assert (start.low, start.high) == wilson_interval(5, 50)
    assert (found.present.low, found.present.high) == wilson_interval(7, 70)


def test_what_no_game_has_measured_has_no_rate():
    found = the_course(first(1, pool=Tally(), best_win_rate=None), tried(2, pool=Tally(1, 0, 1), best_win_rate=0.5))
    assert [point.rate for point in found.points] == [None, 0.5]
    assert found.first == found.points[1]


def test_a_lesson_repeated_with_what_came_since_counts_its_experiences_once():
    found = the_course(
        first(1),
        tried(2, lesson=lesson("0:0", "0:40", 40)),
        tried(3, lesson=lesson("0:0", "0:70", 70)),
        promoted(4, lesson=lesson("0:70", "0:100", 30)),
        tried(5, lesson=lesson("0:100", "0:105", 5)),
        tried(6, lesson=lesson("0:70", "0:110", 40)),  # its start was rolled back: it learns again what is later
        tried(7, lesson=lesson("0:110", "0:999", 889), status=Status.FAILED, reason=Reason.CRASHED),
    )
    assert (found.lessons, found.experiences) == (5, 110)


def test_since_a_time_only_later_lines_count_and_the_curve_begins_with_what_was_there():
    lines = [first(1, pool=Tally(5, 0, 45), best_win_rate=0.1), tried(2), promoted(3), tried(4)]
    since_s = START_S + 170
    found = the_course(*lines, since_s=since_s)
    assert found.iterations == 2
    assert found.points[0] == courses(lines[:2])[0].present._replace(at_s=since_s)
    assert [change.before for change in found.changes] == ["v000001"]
    assert courses(lines, since_s=START_S + 1000) == ()


def test_a_clock_set_back_does_not_turn_the_curve_back():
    found = the_course(first(5), tried(6, time=at(1)), tried(7, time={}), tried(8))
    times = [point.at_s for point in found.points]
    assert times == [START_S + 300, START_S + 300, START_S + 300, START_S + 480]


def test_a_log_whose_beginning_is_gone_names_what_its_first_line_played():
    found = the_course(tried(10, against="v000007"), promoted(11))
    assert found.points[0].version == "v000007"
    assert found.changes[0].before == "v000007"


def test_only_wanted_targets_are_followed_in_order_of_key():
    lines = [first(1, target="tank/b"), first(2, target="mage/a"), first(3, target="mage/c")]
    assert [one.target for one in courses(lines, lambda key: key != "mage/c")] == ["mage/a", "tank/b"]


def test_a_long_log_is_held_in_no_more_points_than_a_picture_shows():
    walked = _Walked(TARGET, None)
    walked.add(first(1))
    line = tried(2)
    most = 0
    for iteration in range(2, 4 * HELD_POINTS):
        walked.add(replace(line, iteration=iteration, time=at(iteration), best_win_rate=iteration % 7 / 7))
        most = max(most, len(walked.points))
    found = walked.course()
    assert found.iterations == 4 * HELD_POINTS - 1
    assert most <= HELD_POINTS
    assert len(found.points) <= 4 * (COLUMNS + 1)
