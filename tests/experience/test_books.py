"""The tables of trainings and models, in either database, and who writes them."""

from __future__ import annotations

import threading

import pytest

from supervisor.experience.opening import open_store
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import StoreDownError
from supervisor.journal.log import Log
from supervisor.record import FIRST_CHAIN
from supervisor.registry.bookkeeper import Bookkeeper
from tests.support.books_conformance import BooksConformance
from tests.support.postgres import stores
from tests.support.processes import wait_for
from tests.support.records import make_promotion, make_record


class TestSqliteBooks(BooksConformance):
    @pytest.fixture
    def store(self, tmp_path):
        opened = SqliteStore(tmp_path / "experiences.db")
        yield opened
        opened.close()

    @pytest.fixture
    def another(self, tmp_path):
        return lambda: SqliteStore(tmp_path / "experiences.db")

    @pytest.fixture
    def rows(self, store):
        return lambda select: store.connection.execute(select).fetchall()


def logged(run_dir, records):
    log = Log(run_dir, FIRST_CHAIN)
    return [log.commit(record) for record in records]


def written(run_dir):
    store = SqliteStore(run_dir / "experiences.db")
    try:
        return [row[0] for row in store.connection.execute("SELECT iteration FROM ml_continuous_training_log")]
    finally:
        store.close()


def keeper(run_dir, told, opened=None, folder="folder"):
    return Bookkeeper(
        run_dir, "run", folder, opened or (lambda: open_store(None, run_dir)), lambda *said: told.append(said)
    )


def test_what_the_log_has_and_the_tables_lack_is_written_at_the_start_and_each_line_as_it_comes(tmp_path):
    told = []
    lines = logged(tmp_path, [make_record(1), make_promotion(2), make_record(3)])
    books = keeper(tmp_path, told)
    books.close()
    assert written(tmp_path) == [1, 2, 3]
    again = keeper(tmp_path, told)
    later = make_record(4, chain="")
    again.committed(Log(tmp_path, lines[-1].chain).commit(later))
    again.close()
    assert written(tmp_path) == [1, 2, 3, 4]
    assert told == []


def test_a_silent_store_is_told_once_and_its_lines_are_written_when_it_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("supervisor.registry.bookkeeper.BACKOFF_S", (0.01,))
    told, tries, answers = [], [], threading.Event()

    def opened():
        tries.append(1)
        if not answers.is_set():
            raise StoreDownError("no answer")
        return open_store(None, tmp_path)

    logged(tmp_path, [make_record(1)])
    books = keeper(tmp_path, told, opened)
    wait_for("some tries", lambda: len(tries) > 3)
    assert [event for event, _ in told] == ["books_wait"]
    answers.set()
    wait_for("an answer", lambda: len(told) == 2)
    books.close()
    assert [event for event, _ in told] == ["books_wait", "books_written"]
    assert written(tmp_path) == [1]


def test_a_second_copy_of_a_run_folder_writes_nothing_and_says_so(tmp_path):
    told = []
    logged(tmp_path, [make_record(1)])
    keeper(tmp_path, told).close()
    keeper(tmp_path, told, folder="copy").close()
    assert [event for event, _ in told] == ["books_refused"]


def test_without_a_store_nothing_is_made(tmp_path):
    told = []
    logged(tmp_path, [make_record(1)])
    keeper(tmp_path, told, lambda: None).close()
    assert told == []
    assert not (tmp_path / "experiences.db").exists()


@pytest.fixture(scope="module")
def new_store():
    with stores() as made:
        yield made


class TestPostgresBooks(BooksConformance):
    @pytest.fixture
    def address(self, new_store):
        with new_store() as address:
            yield address

    @pytest.fixture
    def store(self, address):
        opened = open_postgres(address)
        yield opened
        opened.close()

    @pytest.fixture
    def another(self, address):
        return lambda: open_postgres(address)

    @pytest.fixture
    def rows(self, store):
        return lambda select: store.connection.execute(select).fetchall()
