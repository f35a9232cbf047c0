"""What a picture cannot show is left out of a curve, and nothing else."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from supervisor.reporting.thinning import Point, thinned

RATES = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
STEPS = st.tuples(st.sampled_from([0.0, 0.1, 1.0, 50.0]), st.sampled_from(["v1", "v2", None]), st.integers(0, 1), RATES)
COLUMNS = st.integers(1, 12)


@st.composite
def curves(draw) -> list[Point]:
    at_s, points = 1e9, []
    for step_s, version, level, rate in draw(st.lists(STEPS, max_size=60)):
        at_s += step_s
        points.append(Point(at_s, version, level, rate, 0.0, 1.0))
    return points


def columns_of(points: list[Point], columns: int, every: list[Point]) -> dict[int, list[Point]]:
    """By the column that a point falls into where all of them are drawn."""
    width_s = (every[-1].at_s - every[0].at_s) / columns or 1.0
    found: dict[int, list[Point]] = {}
    for point in points:
        found.setdefault(int((point.at_s - every[0].at_s) / width_s), []).append(point)
    return found


def history(points: list[Point]) -> list[tuple[str | None, int, bool]]:
    """What was in production at which level, measured or not, without the repetitions."""
    told = [(point.version, point.level, point.rate is None) for point in points]
    return told[:1] + [after for before, after in pairwise(told) if before != after]


@given(curves(), COLUMNS)
def test_no_change_of_version_or_level_is_ever_dropped(points, columns):
    assert history(thinned(points, columns)) == history(points)


@given(curves(), COLUMNS)
def test_every_column_keeps_how_it_begins_and_ends_and_how_low_and_high_it_reaches(points, columns):
    kept = thinned(points, columns)
    left = columns_of(kept, columns, points) if points else {}
    for column, there in (columns_of(points, columns, points) if points else {}).items():
        assert (left[column][0], left[column][-1]) == (there[0], there[-1])
        measured = [point.rate for point in there if point.rate is not None]
        shown = [point.rate for point in left[column] if point.rate is not None]
        assert bool(measured) == bool(shown)
        if measured:
            assert (min(shown), max(shown)) == (min(measured), max(measured))


@given(curves(), COLUMNS)
def test_it_invents_nothing_and_keeps_the_order(points, columns):
    rest = iter(points)
    assert all(any(point is other for other in rest) for point in thinned(points, columns))


@given(curves(), COLUMNS)
def test_what_is_thinned_stays_as_it_is(points, columns):
    kept = thinned(points, columns)
    assert thinned(kept, columns) == kept


def test_of_a_hundred_thousand_points_only_a_few_of_every_column_are_left():
    points = [Point(1e9 + number, "v1", 1, number % 101 / 100, 0.0, 1.0) for number in range(100_000)]
    assert len(thinned(points, 760)) <= 4 * 761
