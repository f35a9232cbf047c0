"""The embedded store keeps to what every store does, and to what a file promises."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervisor.errors import DamagedStateError
from supervisor.experience.migrations import migrations
from supervisor.experience.sqlite import connection as opening
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Parcel, StoreDownError
from tests.support.experiences import TARGET, numbered, numbers, read, write
from tests.support.store_conformance import StoreConformance

WRITER = """
import sys
from pathlib import Path
from supervisor.experience.sqlite.store import SqliteStore
from tests.support.experiences import numbered, write
store = SqliteStore(Path(sys.argv[1]))
for first in range(0, 1_000_000, 100):
    write(store, numbered(100, first))
    print(first + 100, flush=True)
"""


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path):
        opened = SqliteStore(tmp_path / "experiences.db")
        yield opened
        opened.close()

    @pytest.fixture
    def another(self, tmp_path):
        opened = []

        def open_one():
            opened.append(SqliteStore(tmp_path / "experiences.db"))
            return opened[-1]

        yield open_one
        for one in opened:
            one.close()

    @pytest.fixture
    def new(self, tmp_path):
        opened = SqliteStore(tmp_path / "new.db")
        yield opened
        opened.close()


def test_a_writer_killed_at_any_time_leaves_whole_parcels_and_all_that_it_was_told_are_stored(tmp_path):
    path = tmp_path / "experiences.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        told = [int(writer.stdout.readline()) for _ in range(5)]
        writer.kill()
        told += [int(line) for line in writer.stdout.read().split()]
    stored = numbers(read(SqliteStore(path)))
    assert stored == list(range(len(stored)))
    assert len(stored) % 100 == 0
    assert len(stored) >= told[-1]


def test_ids_are_never_given_twice_so_that_a_position_stays_good_when_rows_are_removed(tmp_path):
    store = SqliteStore(tmp_path / "experiences.db")
    write(store, numbered(10))
    place = read(store)[-1].last
    store.connection.execute("DELETE FROM ml_experience_replay")
    write(store, numbered(3, 10))
    assert numbers(read(store, after=place)) == [10, 11, 12]


def test_writers_of_several_threads_wait_for_each_other(tmp_path):
    path = tmp_path / "experiences.db"
    SqliteStore(path).close()

    def fill(first):
        store = SqliteStore(path)
        for part in range(20):
            write(store, numbered(5, first + 5 * part))
        store.close()

    threads = [threading.Thread(target=fill, args=(1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = numbers(read(SqliteStore(path)))
    assert sorted(got) == sorted(1000 * number + row for number in range(4) for row in range(100))


def test_a_writer_that_holds_the_file_for_too_long_is_told_and_nothing_is_half_stored(tmp_path, monkeypatch):
    path = tmp_path / "experiences.db"
    monkeypatch.setattr(opening, "BUSY_S", 0.05)
    store = SqliteStore(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreDownError, match="locked"):
        write(store, numbered(3))
    holder.execute("ROLLBACK")
    write(store, numbered(3))
    assert numbers(read(store)) == [0, 1, 2]
    holder.close()


def test_a_full_disk_is_told_and_the_parcel_can_be_handed_over_again(tmp_path):
    store = SqliteStore(tmp_path / "experiences.db")
    write(store, numbered(10))
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    parcel = Parcel([(TARGET, numbered(5000, 10))], (), "game", "a")
    with pytest.raises(StoreDownError, match="full"):
        store.write([parcel])
    assert numbers(read(store)) == list(range(10))
    store.connection.execute("PRAGMA max_page_count = 1073741823")
    assert not store.write([parcel])[0].repeated
    assert numbers(read(store)) == list(range(5010))


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path):
    path = tmp_path / "experiences.db"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(DamagedStateError, match=r"experiences\.db"):
        SqliteStore(path)
    assert path.read_bytes() == b"not a database " * 100


def test_a_store_that_had_no_identity_gets_one_that_stays(tmp_path):
    path = tmp_path / "experiences.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(migrations("sqlite")[0].sql)
        connection.execute("PRAGMA user_version = 1")
    found = set()
    for _ in range(2):
        with contextlib.closing(SqliteStore(path)) as store:
            found.add(store.identity)
    assert [len(identity) for identity in found] == [32]


def test_a_store_of_a_newer_program_is_refused(tmp_path):
    path = tmp_path / "experiences.db"
    store = SqliteStore(path)
    store.connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(DamagedStateError, match="schema 99"):
        SqliteStore(path)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreDownError, match="see that its folder"):
        SqliteStore(tmp_path / "none" / "experiences.db")


def test_the_log_that_is_written_ahead_does_not_grow_while_somebody_reads(tmp_path):
    path = tmp_path / "experiences.db"
    store, reader = SqliteStore(path), SqliteStore(path)
    write(store, numbered(20_000))
    pages = iter(reader.stream(*_whole()))
    next(pages)
    for part in range(20):
        write(store, numbered(1000, 20_000 + 1000 * part))
    assert Path(f"{path}-wal").stat().st_size < 12 * 2**20


def _whole():
    from supervisor.experience.store import BEGINNING, Selection
    from tests.support.experiences import END

    return Selection(TARGET), BEGINNING, END
