"""Tables of experience that somebody else made are read as ours is, and never written."""

from __future__ import annotations

import json

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.errors import UsageError
from supervisor.experience.postgres.copying import copied
from supervisor.experience.postgres.decoding import _all_alike, _one_by_one, decoded
from supervisor.experience.postgres.paging import Paging
from supervisor.experience.postgres.schema import create
from supervisor.experience.postgres.store import PostgresStore, open_postgres
from supervisor.experience.rows import Experiences
from supervisor.experience.store import BEGINNING, NotInitialisedError, Parcel, Position, Reader, Selection
from tests.support.experiences import END, TARGET, experiences, numbers, read, same, together, write
from tests.support.postgres import database, running_server

LAYOUTS = {
    "bytea": lambda row: row.astype("<f4").tobytes(),
    "real[]": lambda row: row.tolist(),
    "float8[]": lambda row: row.tolist(),
    "jsonb": lambda row: json.dumps(row.tolist()),
    "json": lambda row: json.dumps(row.tolist()),
}
MINIMAL = "CREATE TABLE ml_experience_replay (id bigserial, archetype text, state {kind}, reward {reward}, "
MINIMAL += "next_state {kind}, done {done})"
FULL = """CREATE TABLE ml_experience_replay (id serial, archetype varchar, model_type varchar, state {kind},
    action smallint, controls {kind}, reward float8, next_state {kind}, done bool, priority numeric, episode int8,
    step int8, version int, "timestamp" timestamp)"""
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda one: one + 0.0)  # JSON knows no -0


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def tables(server):
    """A store for each layout, with a full table."""
    found = {}
    for number, kind in enumerate(LAYOUTS):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE layout_{number}")
        with psycopg.connect(server.address(f"layout_{number}")) as connection:
            connection.execute(FULL.format(kind=kind).encode())
        found[kind] = open_postgres(server.address(f"layout_{number}"))
    yield found
    for store in found.values():
        store.close()


@pytest.fixture
def empty(server):
    with database(server) as url:
        yield url


def fill(store: PostgresStore, rows: Experiences, kind: str) -> None:
    cells = LAYOUTS[kind]
    insert = f"""INSERT INTO ml_experience_replay (archetype, model_type, state, action, controls, reward, next_state,
        done, priority, episode, step, version, "timestamp")
        VALUES ({", ".join(["%s"] * 12)}, timestamp 'epoch' + %s * interval '1 microsecond')"""
    names = [[name] * len(rows) for name in TARGET.split("/")]
    columns = (
        *names,
        map(cells, rows.states),
        rows.actions.tolist(),
        map(cells, rows.controls),
        rows.rewards.tolist(),
        map(cells, rows.next_states),
        *(column.tolist() for column in (rows.done, rows.priorities, rows.episodes, rows.steps, rows.versions)),
        rows.times.tolist(),
    )
    with store.connection.transaction(), store.connection.cursor() as cursor:
        cursor.execute("DELETE FROM ml_experience_replay")
        cursor.executemany(insert.encode(), zip(*columns, strict=True))


@st.composite
def some_rows(draw):
    count, width, controls = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rows = experiences(count, draw(st.integers(0, 1000)), width, controls)
    for matrix in (rows.states, rows.next_states, rows.controls):
        matrix[:] = np.reshape(draw(st.lists(FINITE, min_size=matrix.size, max_size=matrix.size)), matrix.shape)
    return rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=some_rows())
def test_the_same_rows_are_the_same_in_every_layout(tables, rows):
    for kind, store in tables.items():
        fill(store, rows, kind)
        assert same(together(read(store, batch_rows=3)), rows), kind
        assert len(numbers(read(store, Selection(TARGET, width=rows.width)))) == len(rows)
        assert read(store, Selection(TARGET, width=rows.width + 1)) == []


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_table_with_little_more_than_states_is_read_with_what_is_usual(empty, kind):
    states = np.arange(12, dtype=np.float32).reshape(4, 3)
    with psycopg.connect(empty) as connection:
        connection.execute(MINIMAL.format(kind=kind, reward="numeric", done="int").encode())
        for k in range(3):
            connection.execute(
                f"INSERT INTO ml_experience_replay (archetype, state, reward, next_state, done)"
                f" VALUES ('mage', %s::{kind}, %s, %s::{kind}, %s)".encode(),
                (LAYOUTS[kind](states[k]), k, LAYOUTS[kind](states[k + 1]), int(k == 2)),
            )
    store = open_postgres(empty)
    expected = Experiences.of(states[:3], np.zeros(3, np.int32), range(3), states[1:], [False, False, True], time_us=0)
    assert same(together(read(store)), expected)
    assert store.newest(Selection(TARGET)) == Position(0, 3)
    assert store.nth(Selection(TARGET), BEGINNING, END, -2) == Position(0, 2)
    assert [stats.target for stats in store.stats()] == ["mage/*"]
    assert numbers(read(store, after=Position(0, 1))) == [1, 2]
    store.close()


def test_actions_that_are_numbers_are_controls(empty):
    with psycopg.connect(empty) as connection:
        connection.execute(
            "CREATE TABLE ml_experience_replay (id bigserial, archetype text, state real[], action float8[],"
            " reward real, next_state real[], done bool)"
        )
        connection.execute(
            "INSERT INTO ml_experience_replay VALUES (1, 'mage', '{1,2}', '{0.5,-1}', 0, '{3,4}', false)"
        )
    store = open_postgres(empty)
    [page] = read(store)
    assert page.rows.controls.tolist() == [[0.5, -1.0]]
    assert page.rows.actions.tolist() == [0]
    store.close()


def test_what_is_null_or_broken_is_nan_but_where_an_episode_ended(empty):
    with psycopg.connect(empty) as connection:
        connection.execute(MINIMAL.format(kind="real[]", reward="real", done="bool").encode())
        connection.execute(
            "INSERT INTO ml_experience_replay (archetype, state, reward, next_state, done) VALUES"
            " ('mage', '{1,2}', 0, '{3,4}', false), ('mage', '{1,NULL}', 1, '{3,4}', false),"
            " ('mage', NULL, 2, '{3,4}', NULL),"
            " ('mage', '{1,2}', 3, NULL, true), ('mage', '{1,2}', 4, '{3}', false),"
            " ('mage', '{1,2}', NULL, '{3,4}', false)"
        )
    store = open_postgres(empty)
    [page] = read(store)
    assert np.isfinite(page.rows.states).all(axis=1).tolist() == [True, False, False, True, True, True]
    assert np.isfinite(page.rows.next_states).all(axis=1).tolist() == [True, True, True, True, False, True]
    assert np.isfinite(page.rows.rewards).tolist() == [True] * 5 + [False]
    assert page.rows.done.tolist() == [False, False, False, True, False, False]
    store.close()


def test_one_row_by_itself_and_all_at_once_are_read_alike(empty):
    create(empty)
    store = open_postgres(empty)
    rows = experiences(50, controls=2)
    write(store, rows)
    paging, bodies = Paging(store.table, Selection(TARGET), BEGINNING, END, 256), []
    text = paging.statement().as_bytes(store.connection)
    store.connection.wait(copied(store.connection.pgconn, text, 1000, bodies.append))
    kinds = (store.table.states, store.table.next_states, store.table.controls)
    [body] = bodies
    assert _all_alike(memoryview(body), kinds) is not None
    assert same(decoded(body, kinds).experiences, _one_by_one(memoryview(body), kinds).experiences)
    assert same(decoded(body, kinds).experiences, rows)
    store.close()


def test_it_is_never_written_and_a_store_beside_it_leaves_it_as_it_is(empty):
    with psycopg.connect(empty) as connection:
        connection.execute(MINIMAL.format(kind="bytea", reward="real", done="bool").encode())
    for made in (False, True):
        if made:
            assert create(empty) == create(empty, "partitioned") == "foreign"
        store = open_postgres(empty)
        with pytest.raises(UsageError, match="only read"):
            store.write([Parcel([(TARGET, experiences(3))])])
        store.note_reader(Reader("run-1", TARGET, BEGINNING, 5))
        assert len(store.identity) == (32 if made else 0)
        assert [reader.name for reader in store.readers()] == (["run-1"] if made else [])
        store.close()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("id bigint, archetype text, state bytea, done bool, reward real", "lacks next_state"),
        ("id uuid, archetype text, state bytea, next_state bytea, done bool, reward real", "has uuid as id"),
        ("id int, archetype text, state point, next_state bytea, done bool, reward real", "has point as state"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_it_lacks(empty, columns, said):
    with psycopg.connect(empty) as connection:
        connection.execute(f"CREATE TABLE ml_experience_replay ({columns})".encode())
    with pytest.raises(NotInitialisedError, match=said):
        open_postgres(empty)
