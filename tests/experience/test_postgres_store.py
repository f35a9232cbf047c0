"""The PostgreSQL store keeps to what every store does."""

from __future__ import annotations

import pytest

from supervisor.experience.postgres.store import open_postgres
from tests.support.postgres import stores
from tests.support.store_conformance import StoreConformance


@pytest.fixture(scope="module")
def new_store():
    with stores() as made:
        yield made


@pytest.fixture
def url(new_store):
    with new_store() as address:
        yield address


class TestPostgresStore(StoreConformance):
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
