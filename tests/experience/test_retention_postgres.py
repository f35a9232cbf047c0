"""Retention over PostgreSQL, plain and partitioned."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from supervisor.experience.opening import caretaker_of
from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.store import BEGINNING, Reader, Selection
from tests.support.caretaker_conformance import NOW_US, CaretakerConformance, played, retention
from tests.support.experiences import OTHER, TARGET, numbers, read, write
from tests.support.postgres import stores


class OnPostgres(CaretakerConformance):
    @pytest.fixture
    def url(self, new_store):
        with new_store() as address:
            yield address

    @pytest.fixture
    def store(self, url):
        opened = open_postgres(url)
        yield opened
        opened.close()

    @pytest.fixture
    def another(self, url):
        opened = []

        def open_one():
            opened.append(open_postgres(url))
            return opened[-1]

        yield open_one
        for one in opened:
            one.close()

    def be_impatient(self, store):
        store.connection.execute("SET lock_timeout = '10ms'")

    def put_at(self, store, places, rows):
        before = store.newest(Selection(TARGET)) or BEGINNING
        write(store, rows)
        there = [page.last for page in read(store, after=before, batch_rows=1)]
        statement = "UPDATE ml_experience_replay SET txid = %s::text::xid8, id = %s WHERE id = %s"
        for place, now in zip(places, there, strict=True):
            store.connection.execute(statement, (str(place.txid), place.id, now.id))


@pytest.fixture(scope="module")
def plain():
    with stores() as made:
        yield made


@pytest.fixture(scope="module")
def partitioned():
    with stores("partitioned") as made:
        yield made


class TestPlainLayout(OnPostgres):
    @pytest.fixture
    def new_store(self, plain):
        return plain


class TestPartitionedLayout(OnPostgres):
    @pytest.fixture
    def new_store(self, partitioned):
        return partitioned

    @pytest.fixture
    def parts(self, store):
        """Tables of the days that the tests remove rows of."""
        days = [datetime.fromtimestamp(self.day(days_ago).since_us / 1e6, UTC).date() for days_ago in (9, 10)]
        assert partitions.ensure(store.connection, days) == days[::-1]
        return lambda: [day for day in days if day in partitions.days(store.connection)]

    def test_a_day_that_is_all_removed_is_dropped_as_a_whole(self, store, folder, parts):
        write(store, played(30, 9))
        write(store, played(30, 10))
        write(store, played(5, 10, 100), OTHER)
        assert list(caretaker_of(store).remove(self.day(9), 10, 0)) == [30]
        assert len(parts()) == 1
        removal = caretaker_of(store).remove(self.day(10), 10, 0)
        assert list(removal) == [10, 10, 10]
        assert retention(store, folder).run(NOW_US).cold_rows == 5
        assert parts() == []

    def test_a_day_with_rows_that_stay_is_not_dropped(self, store, parts):
        write(store, played(30, 9))
        places = [page.last for page in read(store, batch_rows=1)]
        assert list(caretaker_of(store).remove(self.day(9, upto=places[19]), 100, 0)) == [20]
        assert numbers(read(store)) == list(range(20, 30))
        assert len(parts()) == 2

    def test_a_day_that_somebody_has_still_to_read_is_not_dropped(self, store, parts):
        write(store, played(30, 9))
        places = [page.last for page in read(store, batch_rows=1)]
        store.note_reader(Reader("run", TARGET, places[12], NOW_US))
        assert list(caretaker_of(store).remove(self.day(9), 10, NOW_US)) == [10]
        assert numbers(read(store)) == list(range(10, 30))
        assert len(parts()) == 2

    def test_a_day_that_somebody_holds_is_removed_row_by_row(self, store, another, parts):
        write(store, played(30, 9))
        holder = another().connection
        with holder.transaction():
            holder.execute("SELECT count(*) FROM ml_experience_replay")
            assert list(caretaker_of(store).remove(self.day(9), 10, 0)) == [10, 10, 10]
        assert len(parts()) == 2

    def test_stopped_anywhere_days_of_their_own_are_neither_lost_nor_there_twice(
        self, store, folder, monkeypatch, parts
    ):
        write(store, played(20, 9))
        write(store, played(20, 10, 20))
        for stop in range(1, 100):
            stopped = self.run_and_stop(store, folder, stop, monkeypatch)
            there, filed = Counter(numbers(read(store))), Counter(self.named_in_manifest(folder))
            assert there | filed == Counter(range(40))
            assert max(filed.values(), default=0) <= 1
            if not stopped:
                break
        assert parts() == []
