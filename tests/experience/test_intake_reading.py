"""Bodies of every form: what of them are experiences, why the rest are not, and that no row is lost on the way."""

from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.contract import Interface
from supervisor.experience.intake import frame, refusals
from supervisor.experience.intake.form import Form, Forms, form_of
from supervisor.experience.intake.reading import CONTENT_TYPES, JSON, JSON_LINES, TooManyRowsError, parcel_of, reasons
from supervisor.experience.intake.refusals import UnreadableError
from supervisor.experience.rows import Experiences, episode_number
from supervisor.experience.store import Parcel
from supervisor.serving import payload
from tests.support.experiences import NOON_US, OTHER, TARGET, WIDTH, experiences, same
from tests.support.intake_rows import NOW_US, as_lines, forms, row
from tests.support.odd_requests import NASTY

FRAME = frame.CONTENT_TYPE


def read(body: bytes, kind: str = JSON_LINES, known: Forms | None = None, most: int = 10_000) -> Parcel:
    return parcel_of(body, kind, known or forms(), NOW_US, most)


def lines(*rows: object) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in rows)


def refusal(parcel: Parcel) -> tuple[str, str]:
    """The only row's."""
    [one] = parcel.refused
    assert parcel.rows == 0
    return one.reason, one.detail


def the_rows(parcel: Parcel) -> Experiences:
    [(target, rows)] = parcel.experiences
    assert target == TARGET
    return rows


@pytest.mark.parametrize("kind", CONTENT_TYPES)
@pytest.mark.parametrize("controls", [0, 3])
def test_the_same_rows_are_read_from_every_form_of_body(kind: str, controls: int) -> None:
    sent = experiences(50, controls=controls)
    as_json = as_lines(sent)
    bodies = {
        JSON_LINES: as_json,
        JSON: b"[" + as_json.replace(b"\n", b",") + b"]",
        FRAME: frame.encode(TARGET, sent),
    }
    model = Interface({"state": (0, WIDTH)}, {"action": (0, 3)} if controls else {"q_values": (0, 10)})
    parcel = read(bodies[kind], kind, forms(model))
    assert not parcel.refused
    assert same(the_rows(parcel), sent)


def test_one_object_needs_no_list() -> None:
    rows = the_rows(read(json.dumps(row()).encode(), JSON))
    assert (len(rows), rows.actions[0], rows.times[0]) == (1, 3, NOW_US)


def test_what_may_be_left_out_has_its_usual_value() -> None:
    rows = the_rows(read(lines(row(next_state=None, done=True), row(episode=None, priority=None))))
    assert not rows.next_states[0].any()
    assert rows.priorities.tolist() == [1.0, 1.0]
    assert rows.episodes.tolist() == rows.steps.tolist() == rows.versions.tolist() == [0, 0]


def test_an_episode_may_have_a_name_and_a_version_and_a_time_are_written_either_way() -> None:
    noon = NOON_US / 1e6
    rows = the_rows(
        read(
            lines(
                row(episode="fight 7", version="v000042", timestamp="2026-01-01T12:00:00Z"),
                row(episode=7, version=42, timestamp=noon),
                row(episode=7, version="42", timestamp="2026-01-01T13:00:00+01:00"),
                row(episode=7, version="v42", timestamp="2026-01-01T12:00:00"),
            )
        )
    )
    assert rows.episodes.tolist() == [episode_number("fight 7"), 7, 7, 7]
    assert rows.versions.tolist() == [42] * 4
    assert rows.times.tolist() == [NOON_US] * 4


def test_rows_of_several_targets_come_in_one_body() -> None:
    known = Forms([TARGET, OTHER], lambda _: None)
    body = frame.encode(TARGET, experiences(3)) + frame.encode(OTHER, experiences(4, width=5))
    assert [(target, len(rows)) for target, rows in read(body, FRAME, known).experiences] == [(TARGET, 3), (OTHER, 4)]
    body = as_lines(experiences(3)) + b"\n\n" + as_lines(experiences(4, width=5), OTHER) + b"\r\n"
    assert [(target, len(rows)) for target, rows in read(body, known=known).experiences] == [(TARGET, 3), (OTHER, 4)]


WRONG = [
    (row(archetype="wizard"), refusals.UNKNOWN_TARGET, "wizard/combat_dqn"),
    (row(state=[0.5] * 7), refusals.WRONG_WIDTH, "7 numbers where the model takes 8"),
    (row(next_state=[0.5] * 9), refusals.WRONG_WIDTH, "next_state: 9"),
    (row(next_state=[]), refusals.WRONG_WIDTH, "next_state: 0"),
    (row(state=[1e39, *[0.5] * 7]), refusals.NOT_FINITE, "state[0]"),
    (row(next_state=[*[0.5] * 7, -1e300]), refusals.NOT_FINITE, "next_state[7]"),
    (row(reward=1e39), refusals.NOT_FINITE, "reward"),
    (row(state=[float("nan"), *[0.5] * 7]), refusals.NOT_FINITE, "NaN"),
    (row(action=10), refusals.ACTION_OUT_OF_RANGE, "there are 0 to 9"),
    (row(action=-1), refusals.ACTION_OUT_OF_RANGE, "-1"),
    (row(action=2**40), refusals.ACTION_OUT_OF_RANGE, "32 bits"),
    (row(action=[0.5, 0.5]), refusals.WRONG_ACTION, "2 numbers, not one of a few"),
    (row(reward=None), refusals.MISSING_FIELD, "reward"),
    (row(next_state=None), refusals.MISSING_FIELD, "next_state"),
    (row(archetype=None), refusals.MISSING_FIELD, "archetype"),
    (row(archetype=7), refusals.WRONG_TYPE, "text"),
    (row(action=1.5), refusals.WRONG_TYPE, "whole number"),
    (row(action=True), refusals.WRONG_TYPE, "whole number"),
    (row(done=1), refusals.WRONG_TYPE, "true or false"),
    (row(state=[True, *[0.5] * 7]), refusals.WRONG_TYPE, "state[0]"),
    (row(state=[[0.5], *[0.5] * 7]), refusals.WRONG_TYPE, "state[0]"),
    (row(state="[0.5]"), refusals.WRONG_TYPE, "state"),
    (row(reward="1"), refusals.WRONG_TYPE, "reward"),
    (row(rewrad=1), refusals.UNKNOWN_FIELD, "rewrad"),
    (row(priority=0), refusals.WRONG_PRIORITY, "above 0"),
    (row(priority=-1.5), refusals.WRONG_PRIORITY, "-1.5"),
    (row(priority=1e-60), refusals.WRONG_PRIORITY, "above 0"),
    (row(step=-1), refusals.WRONG_STEP, "-1"),
    (row(step=2**31), refusals.WRONG_STEP, "32 bits"),
    (row(version="latest"), refusals.WRONG_VERSION, "latest"),
    (row(version=-1), refusals.WRONG_VERSION, "-1"),
    (row(episode=1.5), refusals.WRONG_TYPE, "episode"),
    (row(episode=2**63), refusals.WRONG_TYPE, "episode"),
    (row(episode="x" * 201), refusals.WRONG_TYPE, "200"),
    (row(timestamp="yesterday"), refusals.WRONG_TIME, "yesterday"),
    (row(timestamp=True), refusals.WRONG_TIME, "True"),
    (row(timestamp=-5), refusals.WRONG_TIME, "before 1970"),
    (row(timestamp="0001-01-01T00:00:00+14:00"), refusals.WRONG_TIME, "1970"),
    (row(timestamp=NOW_US / 1e6 + 3601), refusals.FROM_THE_FUTURE, "3601 s ahead"),
    (row(timestamp=NOW_US / 1e3), refusals.FROM_THE_FUTURE, "ahead"),
]


@pytest.mark.parametrize(("given", "code", "says"), WRONG, ids=[f"{code} {says}" for _, code, says in WRONG])
def test_what_is_wrong_with_a_row_is_told_and_the_row_is_kept(given: dict[str, object], code: str, says: str) -> None:
    parcel = read(lines(given, row()))
    assert parcel.rows == 1
    [one] = parcel.refused
    assert (one.reason, one.row) == (code, json.dumps(given))
    assert says in one.detail
    assert one.target == f"{given.get('archetype')}/combat_dqn" or code in (refusals.MISSING_FIELD, refusals.WRONG_TYPE)


def test_an_hour_ahead_is_a_clock_and_not_the_future() -> None:
    assert read(lines(row(timestamp=NOW_US / 1e6 + 3599))).rows == 1


def test_every_reason_is_met_and_explained() -> None:
    line_by_line = {refusals.BROKEN_JSON, refusals.TOO_LONG, refusals.NOT_AN_OBJECT}
    assert {code for _, code, _ in WRONG} | line_by_line == set(refusals.SAYS)


def test_lines_that_are_no_rows_are_kept_beside_those_that_are() -> None:
    long = b'{"state":[' + b"1," * 600_000 + b"1]}"
    parcel = read(b"\n".join([b"{", b"[1]", long, lines(row()), b"\xff\xfe\x00", b'"\xed\xa0\x80"']))
    assert parcel.rows == 1
    assert reasons(parcel) == {refusals.BROKEN_JSON: 3, refusals.NOT_AN_OBJECT: 1, refusals.TOO_LONG: 1}
    assert all(len(one.row) <= 4096 and "\0" not in one.row for one in parcel.refused)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *[(body, JSON_LINES) for body in (b"", b"\n \n", b"{", b"[1]\n2", b"\xff", b"null")],
        *[(body, JSON) for body in (b"", b"{", b"[1]", b"[]", b"[" * 100_000, b"1" * 5000)],
        *[(body, FRAME) for body in (b"", b"INXP", b"x" * 100)],
    ],
)
def test_a_body_without_a_single_row_is_not_taken(body: bytes, kind: str) -> None:
    with pytest.raises(UnreadableError):
        read(body, kind)


@pytest.mark.parametrize("kind", CONTENT_TYPES)
def test_more_rows_than_may_wait_are_not_taken(kind: str) -> None:
    bodies = {JSON_LINES: b"{}\n" * 11, JSON: b"[" + b"1," * 10 + b"1]", FRAME: frame.encode(TARGET, experiences(11))}
    with pytest.raises(TooManyRowsError, match="11 rows"):
        read(bodies[kind], kind, most=10)


def test_a_row_with_nan_takes_none_of_the_others_with_it() -> None:
    odd = [row(), row(reward=float("nan")), row(state=[float("-inf")] * WIDTH)]
    for body, kind in ((json.dumps(odd).encode(), JSON), (lines(*odd), JSON_LINES)):
        parcel = read(body, kind)
        assert (parcel.rows, reasons(parcel)) == (1, {refusals.NOT_FINITE: 2})
        assert [one.target for one in parcel.refused] == [TARGET, TARGET]
        assert "NaN" in parcel.refused[0].row


def test_texts_for_the_quarantine_are_such_as_every_database_takes() -> None:
    given = row(archetype="a\0b", episode="\0")
    [one] = read(lines(given, row())).refused
    assert one.target == "a\ufffdb/combat_dqn"
    for text in (one.target, one.detail, one.row):
        text.encode()
        assert "\0" not in text


def test_without_a_model_the_first_row_says_how_wide_a_state_is() -> None:
    known = forms(None)
    assert reasons(read(lines(row(state=[], next_state=[])), known=known)) == {refusals.WRONG_WIDTH: 1}
    parcel = read(lines(row(state=[1] * 5, next_state=[1] * 5), row()), known=known)
    assert (parcel.rows, reasons(parcel)) == (1, {refusals.WRONG_WIDTH: 1})
    assert reasons(read(frame.encode(TARGET, experiences(2)), FRAME, known)) == {refusals.WRONG_WIDTH: 2}
    assert read(frame.encode(TARGET, experiences(2, width=5)), FRAME, known).rows == 2


def test_a_model_that_is_loaded_later_says_it_from_then_on() -> None:
    loaded: list[Form] = []
    known = Forms([TARGET], lambda _: loaded[0] if loaded else None)
    assert read(lines(row()), known=known).rows == 1
    loaded.append(Form(10, choices=3, controls=0))
    assert refusal(read(lines(row()), known=known))[0] == refusals.WRONG_WIDTH
    assert read(lines(row(action=2, state=[1] * 10, next_state=[1] * 10)), known=known).rows == 1


@pytest.mark.parametrize(
    ("outputs", "form"),
    [
        ({"q_values": (0, 10)}, Form(9, choices=10, controls=0)),
        ({"anything": (0, 3)}, Form(9, choices=3, controls=0)),
        ({"logits": (0, 9), "value": (0, 1)}, Form(9, choices=9, controls=0)),
        ({"action": (0, 4), "logits": (0, 9)}, Form(9, controls=4)),
        ({"a": (0, 4), "b": (0, 9)}, Form(9)),
        ({"values": (0, 4, 2)}, Form(9)),
    ],
)
def test_what_an_action_may_be_is_what_the_server_answers(outputs: dict[str, tuple[int, ...]], form: Form) -> None:
    assert form_of(Interface({"state": (0, 3), "grid": (0, 2, 3)}, outputs)) == form
    [answer] = payload.actions({name: np.zeros((1, *shape[1:]), "f4") for name, shape in outputs.items()}) or [None]
    assert isinstance(answer, int) == (form.choices is not None)
    assert isinstance(answer, list) == bool(form.controls)


def test_ten_thousand_rows_of_a_frame_take_milliseconds() -> None:
    body = frame.encode(TARGET, experiences(10_000, width=64))
    known = forms(Interface({"state": (0, 64)}, {"q_values": (0, 10)}))
    took = []
    for _ in range(5):
        began_s = time.perf_counter()
        assert read(body, FRAME, known).rows == 10_000
        took.append(time.perf_counter() - began_s)
    assert min(took) < 0.05  # 1 ms where nothing else runs


def test_a_frames_bad_rows_are_told_as_json_and_the_good_ones_keep_their_order() -> None:
    rows = experiences(100)
    rows.states[7, 3] = np.nan
    rows.actions[9] = 10
    rows.priorities[11] = 0
    rows.next_states[13, 0] = np.inf
    parcel = read(frame.encode(TARGET, rows), FRAME)
    assert [one.detail for one in parcel.refused] == [
        "state[3]: nan is not finite",
        "action: 10; there are 0 to 9",
        "priority: 0; must be above 0",
        "next_state[0]: inf is not finite",
    ]
    assert the_rows(parcel).rewards.tolist() == [k for k in range(100) if k not in (7, 9, 11, 13)]
    assert json.loads(parcel.refused[1].row)["rewards"] == 9.0


def test_what_a_frame_leaves_out_has_its_usual_value() -> None:
    header = struct.pack("<4sHHIIIHH", b"INXP", 1, 0, 2, 1, 0, 15, 0)
    target = TARGET.encode() + b"\0"
    columns = np.array([1, 2, 3, 4, 5, 6], "<f4").tobytes() + struct.pack("<ii", 7, 8) + b"\0\1" + bytes(6)
    rows = the_rows(read(header + target + columns, FRAME, forms(None)))
    assert rows.states.tolist() == [[1], [2]]
    assert rows.next_states.tolist() == [[3], [4]]
    assert rows.rewards.tolist() == [5, 6]
    assert rows.actions.tolist() == [7, 8]
    assert rows.done.tolist() == [False, True]
    assert rows.priorities.tolist() == [1, 1]
    assert rows.times.tolist() == [NOW_US, NOW_US]


def test_a_frame_in_which_a_step_neither_ends_an_episode_nor_does_not_is_refused() -> None:
    body = bytearray(frame.encode(TARGET, experiences(8)))
    done = 24 + 16 + 8 * (2 * 4 * WIDTH + 4 + 4)
    assert set(body[done : done + 8]) <= {0, 1}
    body[done + 3] = 2
    with pytest.raises(UnreadableError, match="done must be 0 or 1"):
        read(bytes(body), FRAME)


def test_a_frames_columns_are_read_where_they_lie() -> None:
    body = frame.encode(TARGET, experiences(1000))
    rows = the_rows(read(body, FRAME))
    held = np.frombuffer(body, np.uint8)
    for column in (rows.states, rows.next_states, rows.rewards, rows.episodes, rows.times):
        assert np.shares_memory(column, held)
        assert column.flags.aligned


@given(
    fields=st.tuples(*[st.sampled_from([0, 1, 2, 2**16 - 1, 2**31, 2**32 - 1])] * 3),
    name=st.integers(0, 2**16 - 1),
    rest=st.binary(max_size=64),
)
def test_a_frame_that_says_more_than_is_there_is_refused_before_anything_is_made_for_it(
    fields: tuple[int, int, int], name: int, rest: bytes
) -> None:
    body = struct.pack("<4sHHIIIHH", b"INXP", 1, 31, *fields, name, 0) + rest
    with pytest.raises(UnreadableError):
        read(body, FRAME)


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_becomes_of_a_frame_nothing_but_its_rows_comes_of_it(data: st.DataObject) -> None:
    """Bytes changed, cut off, put in: it is refused whole, or every row is there, good or quarantined."""
    sent = data.draw(st.integers(1, 5))
    body = bytearray(frame.encode(TARGET, experiences(sent, controls=data.draw(st.sampled_from([0, 2])))))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not body:
            return
    try:
        found = list(frame.decode(bytes(body), NOW_US))
    except frame.FrameError:
        with pytest.raises(UnreadableError):
            read(bytes(body), FRAME)
        return
    parcel = read(bytes(body), FRAME)
    assert parcel.rows + len(parcel.refused) == sum(len(own.rows) for own in found)
    _all_good(parcel)


values = st.recursive(
    st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
bent = st.dictionaries(st.sampled_from(sorted({*row(), "priority", "episode", "step", "version", "timestamp"})), values)


@settings(max_examples=150)
@given(sent=st.lists(bent.map(lambda others: {**row(), **others}) | values, max_size=6), listed=st.booleans())
def test_rows_in_are_rows_accepted_and_rows_refused(sent: list[object], listed: bool) -> None:
    body = json.dumps(sent).encode() if listed else lines(*sent)
    try:
        parcel = read(body, JSON if listed else JSON_LINES)
    except UnreadableError:
        assert not any(isinstance(one, dict) for one in sent)
        return
    assert parcel.rows + len(parcel.refused) == len(sent)
    _all_good(parcel)


def _all_good(parcel: Parcel) -> None:
    for _, rows in parcel.experiences:
        assert rows.width == WIDTH
        assert rows.states.shape == rows.next_states.shape
        for column in (rows.states, rows.next_states, rows.rewards, rows.priorities, rows.controls):
            assert np.isfinite(column).all()
        assert (rows.priorities > 0).all()
        assert ((rows.actions >= 0) & (rows.actions < 10)).all()
        assert (rows.times <= NOW_US + 3600 * 10**6).all()
    for one in parcel.refused:
        assert one.reason in refusals.SAYS
        (one.target + one.detail + one.row).encode()
