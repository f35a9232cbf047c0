"""The books in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.experience.books import Books
from supervisor.experience.postgres.connection import told
from supervisor.experience.postgres.named_sql import query
from supervisor.experience.postgres.store import PostgresStore

BOOKS = 0x626F6F6B73
"""Of the database. Of two runs that put a version of one target into production the second would not see the first
one's; SQLite's transactions follow one another anyway."""


def postgres_books(store: PostgresStore) -> Books:
    """Through a store's connection."""

    def run(name: str, values: Sequence[object]) -> Any:
        return store.connection.execute(query("books", name), values)

    @contextlib.contextmanager
    def whole() -> Iterator[None]:
        with told(store.address), store.connection.transaction():
            run("one_at_a_time", (BOOKS,))
            yield

    return Books(run, whole)
