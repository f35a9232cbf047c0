"""What lines add up to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import Decision, Outcome, Reason, Status, as_json, parse
from supervisor.execution.attempts import PATIENCE_TRIALS, back_off_s
from supervisor.lesson import Lesson
from supervisor.record import PURPOSES_OF_PEOPLE, Record
from supervisor.state import State, fold_all
from supervisor.totals import BOUNDS_S, FAILED, Totals, add_line
from tests.support.lines import TARGET, line

PROVEN = Decision("paired_e", Outcome.PROMOTE, Reason.PROVEN)
FUTILE = Decision("paired_e", Outcome.REJECT, Reason.FUTILE)


def totals_of(*records: Record) -> Totals:
    totals = Totals()
    for record in records:
        totals = add_line(totals, record)
    return totals


def test_lines_are_counted_by_target_status_and_reason() -> None:
    totals = totals_of(line(1, {}, 0.5), line(2, {}, 0.6), line(3, {}), line(4, {}, 0.4, target="mage/combat_dqn"))
    assert totals.target(TARGET).statuses == {Status.COMPLETE: 2, Status.FAILED: 1}
    assert totals.target("mage/combat_dqn").statuses == {Status.COMPLETE: 1}
    assert totals.reasons == {Reason.BELOW_SCREEN: 3, Reason.CRASHED: 1}
    assert totals.target(TARGET).candidates == 2
    assert totals.target("never/seen").statuses == {}


def test_only_paired_tests_count_as_tests_and_a_proven_promotion_leaves_its_gain() -> None:
    proven = {"decision": PROVEN, "reason": Reason.PROVEN, "promoted": True, "improvement": 0.07}
    totals = totals_of(line(1, {}, 0.5), line(2, {}, 0.9, **proven), line(3, {}, 0.6, decision=FUTILE))
    target = totals.target(TARGET)
    assert target.outcomes == {Outcome.PROMOTE: 1, Outcome.REJECT: 1}
    assert (target.promotions, target.gain) == (1, 0.07)
    assert target.delta == line(3, {}, 0.6).delta


def test_a_failed_trial_leaves_the_last_difference_to_the_incumbent() -> None:
    assert totals_of(line(1, {}, 0.7), line(2, {})).target(TARGET).delta == line(1, {}, 0.7).delta


def test_a_promotion_by_hand_is_a_promotion_but_no_trial() -> None:
    by_hand = {"purpose": "manual", "promoted": True, "decision": Decision("manual", Outcome.PROMOTE, Reason.PROVEN)}
    totals = totals_of(line(1, {}, 0.5, **by_hand, time={"duration_s": 0.0, "finished_at": "2026-01-01T00:00:00Z"}))
    target = totals.target(TARGET)
    assert (target.promotions, target.candidates, target.outcomes) == (1, 0, {})
    assert sum(totals.time.durations) == 0
    assert totals.time.last_commit == "2026-01-01T00:00:00Z"


def test_a_duration_on_a_bound_counts_below_it() -> None:
    times = (0.1, 1.0, 1.1, 1e9)
    totals = totals_of(*(line(n, {}, 0.5, time={"duration_s": took_s}) for n, took_s in enumerate(times, start=1)))
    assert totals.time.durations[:2] == (2, 1)
    assert totals.time.durations[-1] == 1
    assert len(totals.time.durations) == len(BOUNDS_S) + 1
    assert totals.time.trial_s == {TARGET: sum(times)}


lines_of_any_end = st.lists(st.tuples(st.sampled_from(Status), st.sampled_from(["search", "enqueued", "manual"])))


@given(ends=lines_of_any_end)
def test_failures_in_a_row_are_those_that_the_back_off_counts(ends: list[tuple[Status, str]]) -> None:
    records = [line(n, {}, 0.5, status=status, purpose=purpose) for n, (status, purpose) in enumerate(ends, start=1)]
    counted = [record.status for record in records if record.purpose not in PURPOSES_OF_PEOPLE]
    assert (totals_of(*records).failed_in_a_row >= PATIENCE_TRIALS) == (back_off_s(counted) > 0)


def test_what_a_clock_said_makes_no_two_states_differ_and_survives_a_snapshot_all_the_same() -> None:
    quick = [line(n, {}, 0.5, time={"duration_s": 1.0, "finished_at": "2026-01-01T00:00:00Z"}) for n in (1, 2)]
    slow = [replace(record, time={"duration_s": 90.0, "finished_at": "2026-02-01T00:00:00Z"}) for record in quick]
    state = fold_all(State(), slow)
    assert state == fold_all(State(), quick)
    read = parse(State, as_json(state))
    assert read.totals.time == state.totals.time
    assert read.totals.time.trial_s == {TARGET: 180.0}
    assert read.totals.time.last_commit == "2026-02-01T00:00:00Z"


def test_lessons_are_counted_by_what_became_of_them_and_rows_once_they_are_trained_on() -> None:
    lesson = Lesson(TARGET, 3, "0:0", "0:0", "0:300", 300, 0, 4, "v000001", 0)
    totals = totals_of(
        line(1, {}, 0.5),
        line(2, {}, 0.9, lesson=lesson, decision=PROVEN),
        line(3, {}, 0.6, lesson=lesson, decision=FUTILE),
        line(4, {}, lesson=lesson),
    )
    target = totals.target(TARGET)
    assert target.lessons == {Outcome.PROMOTE: 1, Outcome.REJECT: 1, FAILED: 1}
    assert target.learnt_rows == 600
    assert parse(Totals, as_json(totals)).target(TARGET) == target


def test_a_snapshot_from_before_there_were_lessons_is_read() -> None:
    body = as_json(totals_of(line(1, {}, 0.5)))
    for target in body["targets"].values():
        del target["lessons"], target["learnt_rows"]
    assert parse(Totals, body).target(TARGET).learnt_rows == 0
