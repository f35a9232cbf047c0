"""The doctor names what is wrong, how much, and what cures it; after the cure it is silent."""

from __future__ import annotations

import datetime

import psycopg
import pytest

from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.doctor import Limits, doctor
from supervisor.experience.postgres.repair import catch_up
from supervisor.experience.postgres.schema import migrate
from supervisor.experience.postgres.store import open_postgres
from tests.support.experiences import TARGET, WIDTH, experiences, numbered, numbers, read, write
from tests.support.postgres import database, running_server, stores
from tests.support.processes import wait_for

AT_ONCE = Limits(held_s=-1.0, slot_mb=-1.0)


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


def test_who_holds_the_horizon_is_named_with_what_it_does(store, url):
    slow = psycopg.connect(url, application_name="a-game")
    slow.execute("CREATE TEMP TABLE mine (n int)")
    write(store, numbered(3))
    finding = only(store)
    assert f"process {slow.info.backend_pid} (a-game, idle in transaction" in finding.what
    assert "CREATE TEMP TABLE" in finding.what
    assert "holds 3 rows back" in finding.what
    store.connection.execute(finding.cure.encode())
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
        assert "holds 3 rows back" in finding.what
        other.execute(finding.cure.encode())
    assert found(store) == []


def test_a_replication_slot_that_nobody_uses_is_named(store):
    store.connection.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
    try:
        finding = only(store)
        assert "slot forgotten (nobody uses it)" in finding.what
    finally:
        store.connection.execute("SELECT pg_drop_replication_slot('forgotten')")
    assert finding.cure == "SELECT pg_drop_replication_slot('forgotten')"


def test_states_of_another_length_are_counted_by_target(store):
    write(store, numbered(10))
    write(store, experiences(2, width=WIDTH + 1))
    finding = only(store)
    assert f"{TARGET}: 2 rows have states of {WIDTH + 1} numbers where most have {WIDTH}" in finding.what
    store.connection.execute(finding.cure.encode())
    assert found(store) == []
    assert numbers(read(store)) == list(range(10))


def test_missing_indexes_are_named_and_the_cure_is_one(store):
    store.connection.execute("DROP INDEX ml_experience_replay_target, ml_experience_replay_timestamp")
    findings = found(store)
    assert [finding.code for finding in findings] == ["missing_index"] * 2
    assert "(archetype, model_type, txid, id)" in findings[0].what
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
    assert "2 versions of mage/skill_dqn" in several.what
    for finding in (several, no_index):
        store.connection.execute(finding.cure.encode())
    assert found(store) == []
    [left] = store.connection.execute("SELECT version FROM ml_model_versions WHERE active").fetchall()
    assert left == ("2",)


def test_a_table_restored_from_a_busier_server_is_named_and_repaired_without_moving_a_row(store, url):
    write(store, numbered(5))
    ahead = "UPDATE ml_experience_replay SET txid = (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 3000"
    store.connection.execute(f"{ahead} + id)::text::xid8".encode())
    assert read(store) == []
    finding = only(store)
    assert "5 rows" in finding.what
    assert "up to 3,00" in finding.what
    assert finding.cure == "incumbent store migrate"
    migrate(url)
    assert found(store) == []
    write(store, numbered(5, 5))
    pages = read(store, batch_rows=1)
    assert numbers(pages) == list(range(10))
    assert [page.last for page in pages] == sorted(page.last for page in pages)


def test_catching_up_stops_at_what_it_may(store):
    write(store, numbered(5))
    store.connection.execute("UPDATE ml_experience_replay SET txid = '4000000000'")
    assert catch_up(store.connection, at_most=500) == 500
    assert only(store).code == "ahead"


def test_a_table_without_txid_is_named_as_unsafe():
    with running_server() as server, database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE ml_experience_replay (id bigserial PRIMARY KEY, archetype text, model_type text,"
                " state bytea, reward real, next_state bytea, done boolean)"
            )
        store = open_postgres(url)
        assert [finding.code for finding in found(store)] == ["no_txid", "no_timestamp", "missing_index"]
        for finding in found(store)[:2]:
            store.connection.execute(finding.cure.encode())
        store.close()
        store = open_postgres(url)
        assert store.table.has_txid
        assert [finding.code for finding in found(store)] == ["missing_index"] * 2
        store.close()


def test_days_without_a_table_and_rows_in_the_net_are_named_and_repaired():
    with stores("partitioned") as new_store, new_store() as url:
        store = open_postgres(url)
        write(store, numbered(5))
        partitions.drop_before(store.connection, datetime.date.max)
        missing, net = found(store)
        assert all(day.isoformat() in missing.what for day in partitions.ahead(partitions.today()))
        assert net.what.startswith("5 rows of 1 days (2026-01-01")
        assert missing.cure == net.cure == "incumbent store migrate"
        migrate(url)
        assert found(store) == []
        assert numbers(read(store)) == [0, 1, 2, 3, 4]
        store.close()
