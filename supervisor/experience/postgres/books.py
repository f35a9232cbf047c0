"""The books in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.experience.books import Books
from supervisor.experience.postgres.connection import told
from supervisor.experience.postgres.named_sql import query
from supervisor.experience.postgres.store import PostgresStore


def postgres_books(store: PostgresStore) -> Books:
    """Through a store's connection."""

    def run(name: str, values: Sequence[object]) -> Any:
        return store.connection.execute(query("books", name), values)

    @contextlib.contextmanager
    def whole() -> Iterator[None]:
        with told(store.address), store.connection.transaction():
            yield

    return Books(run, whole)
