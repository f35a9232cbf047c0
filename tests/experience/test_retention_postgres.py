"""Retention over PostgreSQL, plain and partitioned."""

from __future__ import annotations

import pytest
from psycopg import sql

from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.sqlite.columns import COLUMNS, rows_of
from tests.support.caretaker_conformance import CaretakerConformance
from tests.support.experiences import TARGET
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

    def put_at(self, store, places, rows):
        columns = sql.SQL(COLUMNS)
        statement = sql.SQL(
            "INSERT INTO ml_experience_replay (txid, id, archetype, model_type, {}) VALUES (%s::text::xid8, %s, %s, %s,"
            " to_timestamp(%s::numeric / 1000000), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        ).format(columns)
        for place, row in zip(places, rows_of(rows), strict=True):
            store.connection.execute(statement, (str(place.txid), place.id, *TARGET.split("/"), *row))


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
