"""The PostgreSQL store keeps to what every store does, to what transactions promise, and says what is wrong."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import socket
import threading
import traceback

import psycopg
import pytest
from psycopg import sql

from supervisor.errors import DamagedStateError, IncumbentError, UsageError
from supervisor.experience.postgres import store as postgres_store
from supervisor.experience.postgres.address import Address
from supervisor.experience.postgres.async_reader import AsyncPostgresReader
from supervisor.experience.postgres.connection import told
from supervisor.experience.postgres.encoding import HEADER, TRAILER, encoded
from supervisor.experience.postgres.named_sql import query
from supervisor.experience.postgres.paging import Paging
from supervisor.experience.postgres.schema import create, migrate
from supervisor.experience.postgres.sending import sent
from supervisor.experience.postgres.store import PostgresStore, open_postgres
from supervisor.experience.postgres.writing import write as write_rows
from supervisor.experience.rows import Experiences
from supervisor.experience.store import (
    BEGINNING,
    NotInitialisedError,
    Parcel,
    Position,
    Refused,
    Selection,
    Stored,
    StoreDownError,
)
from tests.support.experiences import (
    END,
    NOON_US,
    OTHER,
    TARGET,
    experiences,
    numbered,
    numbers,
    read,
    same,
    together,
    write,
)
from tests.support.postgres import database, running_server, shared_server, stores
from tests.support.processes import wait_for
from tests.support.store_conformance import StoreConformance


@pytest.fixture(scope="module")
def new_store():
    with stores() as made:
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


@pytest.fixture
def another(url):
    opened = []

    def open_one():
        opened.append(open_postgres(url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


class TestPostgresStore(StoreConformance):
    @pytest.fixture
    def store(self, url):
        opened = open_postgres(url)
        yield opened
        opened.close()

    @pytest.fixture
    def another(self, another):
        return another

    @pytest.fixture
    def new(self):
        with database(shared_server()) as address:
            create(address)
            opened = open_postgres(address)
            yield opened
            opened.close()


def rows_of(url: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def uncommitted(connection: psycopg.Connection, parcel: Parcel) -> None:
    """In a transaction that goes on."""
    connection.execute("SELECT 1")
    write_rows(connection, [parcel])


def waits_for_another(url: str) -> bool:
    return bool(rows_of(url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


def kill_backend(store: PostgresStore, url: str) -> None:
    pid = store.connection.info.backend_pid
    rows_of(url, "SELECT pg_terminate_backend(%s)", pid)
    wait_for("the backend has ended", lambda: not rows_of(url, "SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))


class TestLateCommits:
    def test_rows_of_a_transaction_that_came_first_and_ends_last_are_neither_lost_nor_repeated(self, store, url):
        with psycopg.connect(url) as slow:
            uncommitted(slow, Parcel([(TARGET, numbered(3, 100))]))
            uncommitted(slow, Parcel([(TARGET, numbered(3, 200))]))
            write(store, numbered(3))
            seen = store.newest(Selection(TARGET))
            before = numbers(read(store, upto=END))
            slow.commit()
        assert numbers(read(store, after=seen or BEGINNING)) + before == [100, 101, 102, 200, 201, 202, 0, 1, 2]
        assert before == []

    def test_what_has_committed_before_is_seen_while_another_transaction_is_open(self, store, url):
        write(store, numbered(3))
        with psycopg.connect(url) as slow:
            uncommitted(slow, Parcel([(TARGET, numbered(3, 100))]))
            assert numbers(read(store)) == [0, 1, 2]
            assert store.count(Selection(TARGET), BEGINNING, END) == 3
            slow.rollback()
        assert store.stats()[0].rows == 3

    def test_whoever_only_reads_for_long_holds_nobody_back(self, store, url):
        with psycopg.connect(url) as reader:
            reader.execute("SELECT count(*) FROM ml_experience_replay")
            write(store, numbered(3))
            assert numbers(read(store)) == [0, 1, 2]


class TestTheSameKeyAtOnce:
    @pytest.mark.parametrize("ends", ["commit", "rollback"])
    def test_the_second_waits_and_repeats_what_the_first_has_stored_or_stores_it(self, store, another, url, ends):
        parcel = Parcel([(TARGET, numbered(3))], (), "game", "a")
        longer = Parcel([(TARGET, numbered(5))], (), "game", "a")
        answers = []
        second = another()
        with psycopg.connect(url) as first:
            uncommitted(first, parcel)
            thread = threading.Thread(target=lambda: answers.extend(second.write([longer])))
            thread.start()
            wait_for("the second waits", lambda: waits_for_another(url))
            getattr(first, ends)()
            thread.join()
        expected = [Stored(3, 0, repeated=True)] if ends == "commit" else [Stored(5, 0)]
        assert answers == expected
        assert len(numbers(read(store))) == expected[0].rows

    def test_several_keys_in_any_order_never_wait_for_each_other_in_a_ring(self, store, another):
        def parcels(order):
            return [Parcel([(TARGET, numbered(1))], (), "game", f"{round_}-{key}") for key in order]

        failures, rounds = [], 30
        barrier = threading.Barrier(2)

        def work(opened, turn):
            nonlocal round_
            for _ in range(rounds):
                barrier.wait()
                try:
                    opened.write(parcels(range(20)[::turn]))
                except StoreDownError as error:
                    failures.append(error)
                if barrier.wait() == 0:
                    round_ += 1

        round_ = 0
        threads = [threading.Thread(target=work, args=(another(), turn)) for turn in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(numbers(read(store))) == 20 * rounds


class TestFaults:
    def test_a_connection_cut_while_rows_are_read_is_told_and_reading_goes_on_after_the_last_page(self, store, url):
        write(store, experiences(20_000, width=64))
        pages = store.stream(Selection(TARGET), BEGINNING, END)
        got = [next(pages) for _ in range(5)]
        kill_backend(store, url)
        with pytest.raises(StoreDownError, match="PostgreSQL at"):
            got.extend(pages)
        assert 5 <= len(got) < 20_000 // 256
        got += read(store, after=got[-1].last)
        assert numbers(got) == list(range(20_000))

    def test_a_connection_cut_while_rows_are_written_leaves_nothing_and_the_next_write_connects_again(self, store, url):
        kill_backend(store, url)
        parcel = Parcel([(TARGET, numbered(3))], (), "game", "a")
        with pytest.raises(StoreDownError):
            store.write([parcel])
        assert store.write([parcel]) == [Stored(3, 0)]

    def test_a_connection_cut_between_the_name_and_the_rows_leaves_neither(self, store, url):
        connection = store.connection

        def cut(claimed):
            kill_backend(store, url)
            return [[HEADER, encoded(TARGET, experiences(2000, width=2000)), TRAILER]]

        statements = [b"INSERT INTO ml_experience_batches VALUES ('game', 'a', 9, 0)", query("writing", "rows")]
        with pytest.raises(psycopg.OperationalError):
            connection.wait(sent(connection.pgconn, statements, cut))
        assert connection.closed
        assert store.write([Parcel([(TARGET, numbered(3))], (), "game", "a")]) == [Stored(3, 0)]
        assert numbers(read(store)) == [0, 1, 2]

    def test_rows_that_cannot_be_made_leave_nothing_and_no_half_message(self, store, url):
        connection, nothing = store.connection, {"ml_experience_batches": 0, "ml_experience_replay": 0}
        statements = [b"INSERT INTO ml_experience_batches VALUES ('game', 'a', 9, 0)", query("writing", "rows")]
        with pytest.raises(ZeroDivisionError):
            connection.wait(sent(connection.pgconn, statements, lambda claimed: [[HEADER, bytes(1 // len(claimed))]]))
        assert connection.closed
        assert {name: rows_of(url, f"SELECT count(*) FROM {name}")[0][0] for name in nothing} == nothing
        assert store.write([Parcel([(TARGET, numbered(3))], (), "game", "a")]) == [Stored(3, 0)]

    def test_what_is_refused_stands_in_the_quarantine_character_by_character(self, store, url):
        texts = ("ü/\u2028", "nan", "\\N\t\r\n", "")
        store.write([Parcel([], [Refused(*texts), Refused("", "", "", "\\.")])])
        found = rows_of(url, "SELECT target, reason, detail, row FROM ml_experience_quarantine ORDER BY id")
        assert found == [texts, ("", "", "", "\\.")]

    def test_an_address_with_an_encoding_of_its_own_changes_no_text(self, url):
        store = open_postgres(f"{url}&client_encoding=LATIN1")
        parcel = Parcel([(TARGET, numbered(3))], [Refused("ü/日本", "nan", "", "")], "größe", "日本")
        assert [told.repeated for told in store.write([parcel]) + store.write([parcel])] == [False, True]
        assert rows_of(url, "SELECT target FROM ml_experience_quarantine") == [("ü/日本",)]
        assert rows_of(url, "SELECT client, key FROM ml_experience_batches") == [("größe", "日本")]
        store.close()

    def test_a_statement_that_takes_too_long_is_given_up(self, url):
        impatient = open_postgres(url, statement_s=0.1)
        with psycopg.connect(url) as holder:
            holder.execute("LOCK TABLE ml_experience_replay")
            for ask in (lambda: write(impatient, numbered(3)), lambda: read(impatient)):
                with pytest.raises(StoreDownError, match="too slow"):
                    ask()
        write(impatient, numbered(3))
        assert numbers(read(impatient)) == [0, 1, 2]
        impatient.close()

    def test_a_server_that_may_only_be_read_says_so(self, url):
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        rows_of(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        store = open_postgres(url)
        with pytest.raises(StoreDownError, match="primary"):
            write(store, numbered(3))
        assert read(store) == []
        store.close()

    @pytest.mark.parametrize("width", [8, 2000])  # 2000: the server refuses a row while megabytes are still to come
    def test_a_full_disk_leaves_nothing_and_the_parcel_can_be_handed_over_again(self, store, url, width):
        """The server is made to say what it says when its disk is full; filling one takes a machine of its own."""
        rows_of(
            url,
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.reward >= 200 THEN RAISE"
            " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$",
        )
        trigger = (
            "CREATE TRIGGER full_disk BEFORE INSERT ON ml_experience_replay FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
        rows_of(url, trigger)
        parcel = Parcel([(TARGET, experiences(300, width=width))], (), "game", "a")
        with pytest.raises(StoreDownError, match="free some space"):
            store.write([parcel])
        assert store.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        rows_of(url, "DROP TRIGGER full_disk ON ml_experience_replay")
        assert store.write([parcel]) == [Stored(300, 0)]
        assert numbers(read(store)) == list(range(300))

    def test_a_server_that_ends_and_comes_again_is_told_and_then_used_again(self):
        with running_server() as server:
            create(server.url)
            store = open_postgres(server.url)
            write(store, numbered(3))
            server.stop(signal.SIGQUIT)
            for ask in (lambda: read(store), lambda: read(store), lambda: open_postgres(server.url)):
                with pytest.raises(StoreDownError, match="see that it runs"):
                    ask()
            server.start()
            assert numbers(read(store)) == [0, 1, 2]
            store.close()


class TestOpening:
    @pytest.fixture
    def empty(self, new_store, url):
        rows_of(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return url

    def test_a_database_without_a_store_is_told_how_one_is_made(self, empty):
        with pytest.raises(NotInitialisedError, match="incumbent store init"):
            open_postgres(empty)
        with pytest.raises(NotInitialisedError, match="incumbent store init"):
            migrate(empty)

    def test_making_a_store_twice_changes_nothing_and_another_layout_is_refused(self, empty):
        assert [create(empty), create(empty)] == ["plain", "plain"]
        with pytest.raises(UsageError, match="chosen once"):
            create(empty, "partitioned")

    def test_several_that_make_it_at_once_make_one(self, empty):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(create, [empty] * 4)) == ["plain"] * 4

    def test_an_older_schema_is_migrated_and_a_newer_one_refused(self, url):
        rows_of(url, "UPDATE ml_experience_store SET schema = 0")
        with pytest.raises(NotInitialisedError, match="incumbent store migrate"):
            open_postgres(url)
        rows_of(url, "UPDATE ml_experience_store SET schema = 99")
        for ask in (open_postgres, migrate):
            with pytest.raises(DamagedStateError, match="schema 99"):
                ask(url)

    def test_a_store_that_had_no_identity_gets_one_that_stays(self, url):
        rows_of(url, "ALTER TABLE ml_experience_store DROP COLUMN identity")
        rows_of(url, "UPDATE ml_experience_store SET schema = 1")
        migrate(url)
        [(identity,)] = rows_of(url, "SELECT identity FROM ml_experience_store")
        for _ in range(2):
            migrate(url)
            store = open_postgres(url)
            assert (store.identity, len(store.identity)) == (identity, 32)
            store.close()

    def test_a_server_without_timescale_is_told_instead_of_half_a_store_made(self, empty):
        if rows_of(empty, "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"):
            assert create(empty, "hypertable") == "hypertable"
            return
        with pytest.raises(UsageError, match="TimescaleDB"):
            create(empty, "hypertable")
        assert rows_of(empty, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []

    @pytest.mark.parametrize(
        "address",
        [
            "postgresql://me:hunter2%40x@127.0.0.1:1/x",
            "host=127.0.0.1 port=1 password=hunter2@x",
            "postgresql://me:hunter2%40x@[127.0.0.1/x",
            "postgresql://me:hunter2@x/y/z?nonsense=1",
        ],
    )
    def test_a_password_is_never_shown(self, address):
        with pytest.raises(IncumbentError) as caught:
            open_postgres(address)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.exit_code in (2, 5)

    def test_a_stalled_server_does_not_hold_a_program_for_ever(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            with pytest.raises(StoreDownError, match="127"):
                open_postgres(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2")


class TestAsyncReader:
    def read(self, url, **given):
        async def reading():
            reader = await AsyncPostgresReader.open(url)
            pages = reader.stream(Selection(TARGET), given.get("after", BEGINNING), given.get("upto", END), 256)
            try:
                return [page async for page in pages]
            finally:
                await reader.close()

        return asyncio.run(reading())

    def test_it_reads_the_same_pages(self, store, url):
        write(store, experiences(5000, width=64))
        found, expected = self.read(url), read(store)
        assert [page.last for page in found] == [page.last for page in expected]
        assert same(together(found), together(expected))

    def test_the_loop_goes_on_while_the_server_works(self, store, url):
        write(store, numbered(10))

        async def reading():
            reader = await AsyncPostgresReader.open(url)
            turns = 0
            with psycopg.connect(url) as holder:
                holder.execute("LOCK TABLE ml_experience_replay")
                pages = asyncio.ensure_future(anext(reader.stream(Selection(TARGET), BEGINNING, END)))
                while not waits_for_another(url):
                    assert not pages.done() or pages.result()
                    turns += 1
                    await asyncio.sleep(0)
                assert not pages.done()
            page = await pages
            await reader.close()
            return turns, page

        turns, page = asyncio.run(reading())
        assert turns > 0
        assert len(page.rows) == 10

    def test_a_cut_connection_is_told(self, store, url):
        write(store, experiences(20_000, width=64))

        async def reading():
            reader = await AsyncPostgresReader.open(url)
            pages = reader.stream(Selection(TARGET), BEGINNING, END)
            got = [await anext(pages)]
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            rows_of(url, others + " AND datname = current_database() AND application_name = 'incumbent'")
            with pytest.raises(StoreDownError):
                got += [page async for page in pages]
            await reader.close()
            return got

        got = asyncio.run(reading())
        assert numbers(got + self.read(url, after=got[-1].last)) == list(range(20_000))


def test_pages_of_wide_rows_have_the_size_asked_for_too(store):
    write(store, experiences(600, width=9000))
    write(store, experiences(5000, width=2), OTHER)
    assert [len(page.rows) for page in read(store)] == [256, 256, 88]
    assert [len(page.rows) for page in read(store, Selection(OTHER), batch_rows=999)] == [999] * 5 + [5]


def test_states_are_kept_uncompressed(url):
    kinds = dict(
        rows_of(
            url,
            "SELECT attname, attstorage::text FROM pg_attribute WHERE attrelid = 'ml_experience_replay'::regclass"
            " AND attname IN ('state', 'next_state', 'controls')",
        )
    )
    assert kinds == {"state": "e", "next_state": "e", "controls": "e"}


def test_reading_a_target_goes_by_the_index_without_sorting(store, url):
    write(store, experiences(3000, width=4))
    write(store, experiences(3000, width=4), OTHER)
    paging = Paging(store.table, Selection(TARGET, since_us=NOON_US), Position(5, 5), END, 256)
    copy = paging.statement().as_string(store.connection)
    inner = copy[copy.index("(") + 1 : copy.rindex(") TO STDOUT")]
    plan = "\n".join(row[0] for row in store.connection.execute(f"EXPLAIN {inner}".encode()))
    assert "Index Scan using ml_experience_replay_target" in plan
    assert "Sort" not in plan
    assert "ROW(txid, id) > ROW" in plan.split("Index Cond", 1)[1].splitlines()[0]


def test_a_position_is_found_by_the_index_without_sorting(store, monkeypatch):
    write(store, experiences(3000, width=4))
    asked, made = [], postgres_store.filled
    monkeypatch.setattr(
        postgres_store, "filled", lambda *given, **parts: asked.append(made(*given, **parts)) or asked[-1]
    )
    newest = store.newest(Selection(TARGET, since_us=NOON_US, width=4))
    store.nth(Selection(TARGET), BEGINNING, newest, 7)
    for statement in asked:
        plan = "\n".join(row[0] for row in store.connection.execute(sql.SQL("EXPLAIN ") + statement))
        assert "using ml_experience_replay_target" in plan
        assert "Sort" not in plan
    assert len(asked) == 2


def test_widths_that_change_after_many_rows_are_noticed_too(store):
    write(store, experiences(1024, width=2))
    write(store, experiences(5, width=3))
    with pytest.raises(ValueError, match="states of 2 and 3 numbers are mixed"):
        read(store)


def test_rows_that_differ_inside_but_not_in_length_are_not_taken_for_each_other(store):
    rows, odd = experiences(1, width=4), experiences(1, width=5)
    odd = Experiences(**{**vars(odd), "next_states": odd.next_states[:, :3]})
    write(store, rows)
    write(store, odd)
    with pytest.raises(ValueError, match="states of 4 and 5 numbers are mixed"):
        read(store)


def test_a_password_that_the_server_repeats_is_not_shown():
    address = Address.parse("postgresql://me:hunter2%40x@127.0.0.1/x")
    for said in ("no such role hunter2@x", "invalid: postgresql://me:hunter2%40x@127.0.0.1"):
        with pytest.raises(StoreDownError) as caught, told(address):
            raise psycopg.OperationalError(said)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
