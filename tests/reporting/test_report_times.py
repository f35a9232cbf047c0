"""Times as a report shows them, and as people type them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.reporting.axes import span_over, span_text, time_marks
from supervisor.reporting.since import moment

NOON_S = 1_795_348_800.0  # 2026-11-22 12:00 UTC
LENGTHS_S = st.floats(0, 40 * 365 * 86400)


@given(st.floats(0, 2e9), LENGTHS_S, st.integers(3, 12))
def test_an_axis_has_a_few_marks_within_its_span_at_even_distances(start_s, length_s, most):
    span = span_over(start_s, start_s + length_s)
    marks = [mark.at_s for mark in time_marks(span, most)]
    assert len(marks) <= most
    assert all(span.start_s <= at_s <= span.end_s for at_s in marks)
    assert len({after - before for before, after in pairwise(marks)}) <= 1


@given(st.floats(0, 2e9), st.floats(1, 40 * 365 * 86400))
def test_a_span_of_a_second_or_more_has_marks(start_s, length_s):
    assert time_marks(span_over(start_s, start_s + length_s), 9)


@pytest.mark.parametrize(
    ("length_s", "texts"),
    [
        (4, ["12:00:00", "12:00:01", "12:00:02", "12:00:03", "12:00:04"]),
        (7200, ["12:00", "12:15", "12:30", "12:45", "13:00", "13:15", "13:30", "13:45", "14:00"]),
        (86400, ["12:00", "15:00", "18:00", "21:00", "23 Nov", "03:00", "06:00", "09:00", "12:00"]),
        (4 * 86400, ["12:00", "23 Nov", "12:00", "24 Nov", "12:00", "25 Nov", "12:00", "26 Nov", "12:00"]),
        (8 * 86400, ["23 Nov", "24 Nov", "25 Nov", "26 Nov", "27 Nov", "28 Nov", "29 Nov", "30 Nov"]),
    ],
)
def test_marks_are_called_by_what_tells_them_apart(length_s, texts):
    assert [mark.text for mark in time_marks(span_over(NOON_S, NOON_S + length_s), 9)] == texts


def test_a_span_names_its_days():
    assert span_text(span_over(NOON_S, NOON_S)) == "22 Nov 2026"
    assert span_text(span_over(NOON_S, NOON_S + 50 * 86400)) == "22 Nov 2026 to 11 Jan 2027"


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [
        ("90m", 5400),
        ("24h", 86400),
        (" 7d ", 604800),
        ("2w", 1209600),
        ("2026-11-22", 43200),
        ("2026-11-22T11:30", 1800),
        ("2026-11-22T11:30:00+02:00", 9000),
        ("2026-11-22T11:30:00Z", 1800),
    ],
)
def test_a_time_is_how_long_ago_or_when(text, ago_s):
    assert moment(text, NOON_S) == NOON_S - ago_s


@pytest.mark.parametrize("text", ["", "yesterday", "7", "-7d", "7 d", "1y", "2026-13-01", "24h ago"])
def test_anything_else_is_no_time(text):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, the command says it better
        moment(text, NOON_S)
