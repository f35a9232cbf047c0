"""The books in an SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from supervisor.experience.books import Books
from supervisor.experience.named_sql import queries
from supervisor.experience.sqlite.connection import told, transaction


def sqlite_books(connection: sqlite3.Connection, path: Path) -> Books:
    """Through a store's connection."""

    @contextlib.contextmanager
    def whole() -> Iterator[None]:
        with told(path), transaction(connection):
            yield

    return Books(lambda name, values: connection.execute(queries("sqlite", "books")[name], values), whole)
