"""The layout with a table for each day keeps to what every store does, and to its days."""

from __future__ import annotations

import concurrent.futures
import datetime
import threading

import psycopg
import pytest

from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.schema import create
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.store import BEGINNING, Parcel, Selection
from tests.support.experiences import END, TARGET, experiences, numbered, numbers, read, write
from tests.support.postgres import database, shared_server, stores
from tests.support.store_conformance import StoreConformance

DAY = datetime.timedelta(days=1)


def ahead() -> list[datetime.date]:
    return sorted(partitions.ahead(partitions.today()))


@pytest.fixture(scope="module")
def new_store():
    with stores("partitioned") as made:
        yield made


@pytest.fixture
def url(new_store):
    with new_store() as address:
        yield address


@pytest.fixture
def store(url):
    opened = open_postgres(url)
    yield opened
    opened.close()


class TestPartitionedStore(StoreConformance):
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

    @pytest.fixture
    def new(self):
        with database(shared_server()) as address:
            create(address)
            opened = open_postgres(address)
            yield opened
            opened.close()


def of_days(*days: datetime.date):
    """A row at noon of each, numbered in the order given."""
    rows = experiences(len(days))
    noon = datetime.time(12, tzinfo=datetime.UTC)
    rows.times[:] = [int(datetime.datetime.combine(day, noon).timestamp()) * 1_000_000 for day in days]
    return rows


def test_days_of_rows_get_their_tables_and_what_is_far_off_goes_to_the_net(store):
    today = partitions.today()
    write(store, of_days(today, today - DAY, today - 400 * DAY, today, today + 50 * DAY))
    assert partitions.days(store.connection) == [today - DAY, *ahead()]
    assert partitions.in_net(store.connection) == {today - 400 * DAY: 1, today + 50 * DAY: 1}
    assert numbers(read(store)) == [0, 1, 2, 3, 4]


def test_the_order_of_reading_is_that_of_commits_whatever_the_days(store):
    today = partitions.today()
    for first, day in ((0, today), (10, today - 3 * DAY), (20, today - DAY)):
        rows = numbered(10, first)
        rows.times[:] = of_days(day).times[0]
        write(store, rows)
    assert numbers(read(store, batch_rows=7)) == list(range(30))
    recent = Selection(TARGET, since_us=int(of_days(today - DAY).times[0]))
    assert numbers(read(store, recent)) == [*range(10), *range(20, 30)]


def test_emptying_the_net_moves_its_rows_and_loses_no_place(store):
    today = partitions.today()
    write(store, of_days(today - 40 * DAY, today - 39 * DAY, today - 40 * DAY, today))
    places = [page.last for page in read(store, batch_rows=1)]
    assert partitions.empty_net(store.connection) == {today - 40 * DAY: 2, today - 39 * DAY: 1}
    assert partitions.in_net(store.connection) == {}
    assert partitions.days(store.connection) == [today - 40 * DAY, today - 39 * DAY, *ahead()]
    assert [page.last for page in read(store, batch_rows=1)] == places


def test_days_are_made_ahead_at_first_and_whenever_rows_come(store, monkeypatch):
    today = partitions.today()
    assert partitions.days(store.connection) == [today, today + DAY, today + 2 * DAY]
    assert partitions.make_ahead(store.connection, today) == []
    monkeypatch.setattr(partitions, "today", lambda: today + DAY)
    write(store, of_days(today))
    assert partitions.days(store.connection) == [today + number * DAY for number in range(4)]


def test_old_days_are_dropped_whole(store):
    today = partitions.today()
    write(store, of_days(today - 2 * DAY, today - DAY, today))
    assert partitions.drop_before(store.connection, today - DAY) == [today - 2 * DAY]
    assert numbers(read(store)) == [1, 2]
    write(store, of_days(today))
    assert len(numbers(read(store))) == 3


def test_a_day_that_cannot_be_made_now_costs_no_row(store, url, monkeypatch):
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT", "50ms")
    past = partitions.today() - DAY
    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM ml_experience_replay_default")
        write(store, of_days(past))
    assert partitions.in_net(store.connection) == {past: 1}
    assert numbers(read(store)) == [0]


def test_writers_of_a_new_day_at_once_all_write(url):
    several = [open_postgres(url) for _ in range(4)]
    barrier, past = threading.Barrier(len(several)), partitions.today() - DAY

    def work(number):
        rows = numbered(5, 10 * number)
        rows.times[:] = of_days(past).times[0]
        barrier.wait()
        several[number].write([Parcel([(TARGET, rows)])])

    with concurrent.futures.ThreadPoolExecutor(len(several)) as pool:
        list(pool.map(work, range(len(several))))
    assert partitions.in_net(several[0].connection) == {}
    assert several[0].count(Selection(TARGET), BEGINNING, END) == 20
    for opened in several:
        opened.close()
