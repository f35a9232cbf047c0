"""Where young rows begin: exact whatever the order of times, and found without walking over old rows twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from supervisor import horizon
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import BEGINNING, Selection
from supervisor.horizon import Horizon
from tests.support.experiences import NOON_US, OTHER, TARGET, numbered, numbers, read, write
from tests.support.postgres import stores


class Spied:
    """Where its walks began."""

    def __init__(self, store):
        self._store, self.begun, self.identity = store, [], store.identity

    def nth(self, selection, after, upto, number):
        self.begun.append(after)
        return self._store.nth(selection, after, upto, number)


@pytest.fixture(scope="module")
def new_store():
    with stores() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path, new_store):
    if request.param == "sqlite":
        opened = SqliteStore(tmp_path / "experiences.db")
        yield opened
        opened.close()
        return
    with new_store() as address:
        opened = open_postgres(address)
        yield opened
        opened.close()


def played(store, *ages, target=TARGET):
    """Rows that were played so many microseconds before noon, in this order."""
    rows = numbered(len(ages), first=sum(len(page.rows) for page in read(store)))
    write(store, replace(rows, times=NOON_US - np.array(ages)), target)


def young(store, found):
    return numbers(read(store, after=found))


def of(store, horizon, age_us, end):
    return horizon.of(store, TARGET, end, NOON_US - age_us)


def end_of(store):
    return store.newest(Selection(TARGET)) or BEGINNING


@pytest.mark.parametrize("chunk", [1, 2, 3, 250_000])
def test_it_lies_before_the_first_young_row_whatever_rows_come_after(store, monkeypatch, chunk):
    monkeypatch.setattr(horizon, "CHUNK_ROWS", chunk)
    played(store, 90, 80, 70, 20, 95, 10)
    played(store, 5, 5, target=OTHER)
    for age_us, rows in ((100, [0, 1, 2, 3, 4, 5]), (75, [2, 3, 4, 5]), (69, [3, 4, 5]), (15, [5]), (9, [])):
        assert young(store, of(store, Horizon(), age_us, end_of(store))) == rows
    assert of(store, Horizon(), 9, end_of(store)) == end_of(store)


def test_a_later_look_goes_on_from_there_and_finds_what_has_come(store, monkeypatch):
    monkeypatch.setattr(horizon, "CHUNK_ROWS", 2)
    played(store, 90, 80, 70, 60)
    known, spied, end = Horizon(), Spied(store), end_of(store)
    assert of(spied, known, 50, end) == end
    assert spied.begun[0] == BEGINNING
    spied.begun.clear()
    assert of(spied, known, 40, end) == end
    assert spied.begun == []
    played(store, 55, 30)
    assert young(store, of(spied, known, 40, end_of(store))) == [5]
    assert min(spied.begun) == end


def test_no_statement_walks_over_more_rows_than_a_chunk_has(store, monkeypatch):
    monkeypatch.setattr(horizon, "CHUNK_ROWS", 2)
    played(store, 90, 80, 70, 60, 50)
    places, walked, nth = [page.last for page in read(store, batch_rows=1)], [], store.nth

    def spied(selection, after, upto, number):
        if selection.since_us is not None:
            walked.append(sum(after < place <= upto for place in places))
        return nth(selection, after, upto, number)

    monkeypatch.setattr(store, "nth", spied)
    of(store, Horizon(), 1, end_of(store))
    assert walked == [2, 2, 1]


def test_a_clock_that_went_back_makes_it_walk_again(store):
    played(store, 90, 80, 70)
    known = Horizon()
    assert young(store, of(store, known, 75, end_of(store))) == [2]
    assert young(store, of(store, known, 85, end_of(store))) == [1, 2]


def test_a_target_without_rows_has_its_at_the_beginning(store):
    assert of(store, Horizon(), 10, end_of(store)) == BEGINNING


def test_a_store_that_ends_before_it_is_another(store):
    played(store, 90, 80, 70)
    known = Horizon()
    of(store, known, 1, end_of(store))
    first = read(store, batch_rows=1)[0].last
    assert young(store, of(store, known, 95, first)) == [0, 1, 2]
    of(store, known, 1, end_of(store))
    assert of(store, known, 0, first) == first


def test_what_was_found_in_one_store_says_nothing_of_another(store, tmp_path):
    played(store, 90, 80, 70)
    known = Horizon()
    of(store, known, 1, end_of(store))
    other = SqliteStore(tmp_path / "other.db")
    played(other, 90, 1, 90, 80, 70)
    assert young(other, of(other, known, 1, end_of(other))) == [1, 2, 3, 4]
    other.close()
