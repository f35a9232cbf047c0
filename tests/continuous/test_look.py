"""A look into a real store: who has a lesson, of which rows, and what retention is told to keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.config.continuous import ContinuousSettings
from supervisor.contract import Interface, Version
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import BEGINNING, Parcel, Position, Selection
from supervisor.horizon import Horizon
from supervisor.lessons import Lessons
from supervisor.look import DAY_US, askings, can_learn, look, width_of
from supervisor.state import State, TargetState
from tests.support.experiences import NOON_US, WIDTH, experiences, numbered, numbers, read, write
from tests.support.processes import wait_for
from tests.support.pupil import pupil, pupils
from tests.support.small_run import definition

A, B = "aggressive/pupil", "mage/pupil"
NOW_US = NOON_US + 1000
SMALL = ContinuousSettings(min_new_experiences=100, max_new_experiences=300, memory_rows=1024)


def incumbent(width=WIDTH, weights="b" * 64):
    shapes = Interface({"state": (0, width - 2), "more": (0, 2)}, {"q": (0, 3)})
    return Version("v000001", 1, {}, "a" * 64, weights, shapes)


def state(looked="", learnt=""):
    """Of both targets, with how far the lessons of one of them went, and those of its incumbent."""
    both = {key: TargetState(iterations=1, incumbent=incumbent()) for key in (A, B)}
    both[B] = replace(both[B], looked_upto=looked, learnt_upto={"v000001": learnt, "v000000": "0:1"} if learnt else {})
    return State(targets=both)


@pytest.fixture
def store(tmp_path):
    opened = SqliteStore(tmp_path / "experiences.db")
    yield opened
    opened.close()


def lessons(store, settings=SMALL, known=None, cycle=1, now_us=NOW_US):
    return look(store, askings(known or state(), pupils(), cycle), settings, cycle, "run", now_us, Horizon())


def test_a_state_is_as_wide_as_all_inputs_together_and_without_weights_nothing_can_go_on():
    assert width_of(incumbent()) == WIDTH
    assert width_of(incumbent(weights=None)) is None
    assert width_of(None) is None
    assert can_learn(state(), pupils())
    assert not can_learn(State(), pupils())
    assert not can_learn(state(), {A: definition(A)})


def between(store, one, other):
    return numbers(read(store, Selection(B), after=Position.parse(one), upto=Position.parse(other)))


def test_a_target_with_enough_new_rows_has_a_lesson_of_the_newest_of_them(store):
    write(store, numbered(99), A)
    write(store, numbered(1000), B)
    (lesson,) = lessons(store)
    assert (lesson.target, lesson.cycle, lesson.rows, lesson.old_rows, lesson.width) == (B, 1, 300, 700, WIDTH)
    assert between(store, lesson.after, lesson.upto) == list(range(700, 1000))
    assert between(store, lesson.since, lesson.after) == list(range(700))


def test_a_lesson_goes_on_where_the_incumbent_has_learnt_to_and_knows_what_came_before(store):
    write(store, numbered(3000), B)
    place = str(read(store, Selection(B), batch_rows=2800)[0].last)
    (lesson,) = lessons(store, known=state(looked=place, learnt=place))
    assert between(store, lesson.since, lesson.after) == list(range(2800 - 1024, 2800))
    assert between(store, lesson.after, lesson.upto) == list(range(2800, 3000))
    assert (lesson.rows, lesson.old_rows) == (200, 1024)
    assert [(reader.name, reader.target, str(reader.position)) for reader in store.readers()] == [
        ("run", B, lesson.since)
    ]


def test_what_a_rejected_one_has_learnt_is_learnt_again_with_what_came_since(store):
    write(store, numbered(250), B)
    place = [str(page.last) for page in read(store, Selection(B), batch_rows=50)]
    (lesson,) = lessons(store, known=state(looked=place[2], learnt=place[0]))
    assert between(store, lesson.after, lesson.upto) == list(range(50, 250))
    assert lessons(store, known=state(looked=place[3], learnt=place[0])) == ()  # too little came since


def test_old_rows_poor_rows_and_rows_of_another_model_are_none_to_learn_from(store):
    rows = experiences(1000)
    store.write([Parcel([(B, replace(rows, times=rows.times - 8 * DAY_US)), (B, experiences(1000, width=WIDTH + 1))])])
    assert lessons(store) == ()
    store.write([Parcel([(B, rows)])])
    chosen = SMALL.model_copy(update={"min_priority": 1.0})
    (lesson,) = lessons(store, chosen)
    selection = Selection(B, lesson.min_priority, lesson.since_us, lesson.width)
    assert lesson.rows + lesson.old_rows == store.count(selection, BEGINNING, Position.parse(lesson.upto)) > 300


def test_rows_that_are_too_old_to_learn_from_are_not_kept_for_the_reader(store):
    rows = numbered(500)
    write(store, replace(rows, times=rows.times - 8 * DAY_US), B)
    write(store, numbered(200, 500), B)
    (lesson,) = lessons(store)
    assert (lesson.since, lesson.after, lesson.rows, lesson.old_rows) == ("0:500", "0:500", 200, 0)
    assert [str(reader.position) for reader in store.readers()] == ["0:500"]


def test_a_store_in_anothers_place_is_learnt_from_its_beginning(store):
    write(store, numbered(200), B)
    for place in ("0:100000", "812:7"):
        (lesson,) = lessons(store, known=state(looked=place, learnt=place))
        assert (lesson.after, lesson.rows) == ("0:0", 200)


@pytest.mark.parametrize(("of", "rows"), [("another", 200), ("", 100), (None, 100)])
def test_a_store_in_anothers_place_that_has_outgrown_it_is_learnt_from_its_beginning(store, of, rows):
    write(store, numbered(200), B)
    reached = "0:100" + (f"@{store.identity if of is None else of}" if of != "" else "")
    (lesson,) = lessons(store, known=state(looked=reached, learnt=reached))
    assert (lesson.rows, lesson.store) == (rows, store.identity)
    assert lesson.reached == f"0:200@{store.identity}"


def test_nothing_new_is_no_lesson(store):
    assert lessons(store) == ()
    write(store, numbered(200), B)
    assert lessons(store, known=state(looked=str(store.newest(Selection(B))))) == ()


def test_a_medium_target_is_asked_for_in_every_third_cycle():
    known = state()
    known = State(targets={key: replace(target, cycle=4) for key, target in known.targets.items()})
    definitions = {A: pupil(A, frequency="medium"), B: pupil(B)}
    asked = {cycle: [asking.pupil.target for asking in askings(known, definitions, cycle)] for cycle in (5, 6, 7)}
    assert asked == {5: [B], 6: [B], 7: [A, B]}


@pytest.mark.parametrize(("search", "looks_at_once"), [(True, False), (False, True)])
def test_after_lessons_that_took_long_the_search_has_a_whole_interval(tmp_path, search, looks_at_once):
    clock = [0.0]
    opened = SqliteStore(tmp_path / "experiences.db")
    write(opened, numbered(200), B)
    opened.close()
    settings = SMALL.model_copy(update={"search": search, "experience_lookback_days": 10_000})
    lessons_ = Lessons(
        tmp_path,
        settings,
        pupils(),
        lambda: SqliteStore(tmp_path / "experiences.db"),
        "run",
        lambda event, reason: None,
        lambda text: None,
        monotonic_s=lambda: clock[0],
        now_us=lambda: NOW_US,
    )
    before = state()
    assert lessons_.next(before, before, []) is None  # it looks
    wait_for("a lesson", lambda: lessons_.next(before, before, []) is not None)
    [(target, since)] = lessons_.reading(before, []).items()
    assert (target, since) == (B, "0:0")
    clock[0] = 10 * settings.check_interval_s
    after = state(looked="0:200")
    after = replace(after, targets={**after.targets, B: replace(after.target(B), cycle=1)})
    assert lessons_.next(after, after, []) is None
    assert lessons_.reading(after, []) == {}
    assert (lessons_._looking is not None) == looks_at_once
    clock[0] += settings.check_interval_s
    lessons_.next(after, after, [])
    assert lessons_._looking is not None or lessons_._cycle.number == 2
