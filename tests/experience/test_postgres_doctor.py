"""The doctor names what is wrong, how much, and what cures it; after the cure it is silent."""

from __future__ import annotations

import datetime

import psycopg
import pytest

from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.doctor import Limits, catch_up, doctor, repair
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.store import Reader, Selection
from tests.support.experiences import NOON_US, TARGET, WIDTH, experiences, numbered, numbers, read, write
from tests.support.postgres import database, running_server, stores
from tests.support.processes import wait_for

AT_ONCE = Limits(lag_s=-1e12, held_s=-1.0, slot_mb=-1.0)


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


def found(store, limits: Limits = AT_ONCE):
    return doctor(store.connection, partitions.today(), limits)


def only(store):
    [finding] = found(store)
    return finding


def test_nothing_is_wrong_with_a_store_as_it_was_made(store):
    write(store, numbered(10))
    assert found(store) == found(store, Limits()) == []


def test_a_reader_that_lags_behind_is_named_with_rows_and_seconds(store):
    write(store, numbered(10))
    store.note_reader(Reader("run-1", TARGET, read(store, batch_rows=4)[0].last, NOON_US))
    store.note_reader(Reader("run-2", TARGET, store.newest(Selection(TARGET)), NOON_US))
    finding = only(store)
    assert "run-1" in finding.what
    assert finding.how_much.startswith("by 6 rows")
    assert found(store, Limits(lag_s=1e12)) == []


def test_who_holds_the_horizon_is_named_with_what_it_does(store, url):
    slow = psycopg.connect(url, application_name="a-game")
    slow.execute("CREATE TEMP TABLE mine (n int)")
    write(store, numbered(3))
    finding = only(store)
    assert f"process {slow.info.backend_pid} (a-game, idle in transaction" in finding.what
    assert "CREATE TEMP TABLE" in finding.what
    assert "3 rows are held back" in finding.how_much
    store.connection.execute(finding.cure.split(", or ")[1].encode())
    wait_for("it has ended", lambda: found(store) == [])
    slow.close()
    assert numbers(read(store)) == [0, 1, 2]


def test_a_prepared_transaction_that_was_forgotten_is_named(store, url):
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO ml_runs (run_id, folder_id) VALUES ('a', 'b')")
        other.execute("PREPARE TRANSACTION 'forgotten'")
        write(store, numbered(3))
        finding = only(store)
        assert "prepared transaction forgotten of tester" in finding.what
        assert "3 rows are held back" in finding.how_much
        other.execute("ROLLBACK PREPARED 'forgotten'")
    assert found(store) == []


def test_a_replication_slot_that_nobody_uses_is_named(store):
    store.connection.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
    try:
        assert "slot forgotten (nobody uses it)" in only(store).what
    finally:
        store.connection.execute("SELECT pg_drop_replication_slot('forgotten')")


def test_states_of_another_length_are_counted_by_target(store):
    write(store, numbered(10))
    write(store, experiences(2, width=WIDTH + 1))
    finding = only(store)
    assert TARGET in finding.what
    assert finding.how_much == f"2 rows of {WIDTH + 1} where {WIDTH} numbers are usual"


def test_missing_indexes_are_named_and_the_cure_is_one(store):
    store.connection.execute("DROP INDEX ml_experience_replay_target, ml_experience_replay_timestamp")
    findings = found(store)
    assert [finding.what for finding in findings] == [
        "no index on (archetype, model_type, txid, id)",
        "no index on timestamp",
    ]
    for finding in findings:
        store.connection.execute(finding.cure.encode())
    assert found(store) == []


def test_several_active_versions_in_a_table_without_the_index_are_named(store):
    store.connection.execute("DROP INDEX ml_model_versions_active")
    store.connection.execute(
        "INSERT INTO ml_model_versions (archetype, model_type, version, onnx_path, active)"
        " VALUES ('mage', 'skill_dqn', '1', '', true), ('mage', 'skill_dqn', '2', '', true)"
    )
    several, no_index = found(store)
    assert ("mage/skill_dqn" in several.what, several.how_much) == (True, "2 versions")
    store.connection.execute("UPDATE ml_model_versions SET active = false WHERE version = '1'")
    store.connection.execute(no_index.cure.encode())
    assert found(store) == []


def test_a_table_restored_from_a_busier_server_is_named_and_repaired_without_moving_a_row(store):
    write(store, numbered(5))
    ahead = "UPDATE ml_experience_replay SET txid = (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 3000"
    store.connection.execute(f"{ahead} + id)::text::xid8".encode())
    assert read(store) == []
    finding = only(store)
    assert "5 rows, up to 3,00" in finding.how_much
    repair(store.connection, partitions.today())
    assert found(store) == []
    write(store, numbered(5, 5))
    pages = read(store, batch_rows=1)
    assert numbers(pages) == list(range(10))
    assert [page.last for page in pages] == sorted(page.last for page in pages)


def test_catching_up_stops_at_what_it_may(store):
    write(store, numbered(5))
    store.connection.execute("UPDATE ml_experience_replay SET txid = '4000000000'")
    assert catch_up(store.connection, at_most=500) == 500
    assert "transactions ahead" in only(store).how_much


def test_a_table_without_txid_is_named_as_unsafe():
    with running_server() as server, database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE ml_experience_replay (id bigserial PRIMARY KEY, archetype text, model_type text,"
                " state bytea, reward real, next_state bytea, done boolean)"
            )
        store = open_postgres(url)
        what = [finding.what for finding in found(store)]
        assert "no column txid" in what[0]
        for finding in found(store)[:2]:
            store.connection.execute(finding.cure.split(", then")[0].encode())
        store.close()
        store = open_postgres(url)
        assert store.table.has_txid
        assert [finding.what for finding in found(store)] == [
            "no index on (archetype, model_type, txid, id)",
            "no index on timestamp",
        ]
        store.close()


def test_days_without_a_table_and_rows_in_the_net_are_named_and_repaired():
    with stores("partitioned") as new_store, new_store() as url:
        store = open_postgres(url)
        write(store, numbered(5))
        partitions.drop_before(store.connection, datetime.date.max)
        missing, net = found(store)
        assert missing.how_much.count(",") == partitions.DAYS_AHEAD
        assert net.how_much.startswith("5 rows of 1 days, 2026-01-01")
        repair(store.connection, partitions.today())
        assert found(store) == []
        assert numbers(read(store)) == [0, 1, 2, 3, 4]
        store.close()
