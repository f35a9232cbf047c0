"""Reading recorded play: nothing twice, nothing left out, however it is cut and interrupted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from supervisor.experience.rows import Experiences
from supervisor.experience.store import BEGINNING, Position
from tests.support.recorded_play import pages_of
from trainers.algorithms.from_play.reading import Reading


def numbered(count: int) -> Experiences:
    """Rows that pay their number."""
    states = np.zeros((count, 1), np.float32)
    return Experiences.of(states, np.zeros(count, int), np.arange(count), states, np.zeros(count, bool), time_us=1)


def numbers(rows: Experiences | None) -> list[float]:
    return [] if rows is None else rows.rewards.tolist()


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 9)), min_size=1), st.integers(0, 40))
def test_stopped_again_and_again_and_opened_with_pages_of_other_sizes_it_goes_on_with_the_next_row(
    bites: list[tuple[int, int]], count: int
) -> None:
    reading, found = Reading(pages_of(numbered(count), 5), BEGINNING), []
    for bite, page in bites:
        found += numbers(reading.take(bite))
        again = Reading(pages_of(numbered(count), page), BEGINNING)
        again.load_state(reading.state())
        assert again.state() == reading.state()
        reading = again
    while (rows := reading.take(3)) is not None:
        found += numbers(rows)
    assert found == list(range(count))
    assert reading.ended


def test_it_begins_behind_the_position_that_it_is_given() -> None:
    reading = Reading(pages_of(numbered(10), 4), Position(0, 7))
    assert numbers(reading.take(100)) == [7, 8, 9]
    assert reading.take(1) is None


def test_a_page_is_never_exceeded_and_the_end_is_told_only_when_it_is_reached() -> None:
    reading = Reading(pages_of(numbered(5), 4), BEGINNING)
    assert [numbers(reading.take(3)) for _ in range(3)] == [[0, 1, 2], [3], [4]]
    assert not reading.ended
    assert reading.take(1) is None
    assert reading.ended


def test_pages_without_rows_are_passed_over() -> None:
    pages = pages_of(numbered(4), 2)

    def with_gaps(after: Position):
        for page in pages(after):
            yield type(page)(page.rows.where(slice(0, 0)), page.last._replace(id=page.last.id - 1))
            yield page

    reading = Reading(with_gaps, BEGINNING)
    assert [numbers(reading.take(9)) for _ in range(3)] == [[0, 1], [2, 3], []]
