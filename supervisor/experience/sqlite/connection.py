"""Opening the file, bringing its tables up to date, and what SQLite's errors mean to people."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from supervisor.errors import DamagedStateError
from supervisor.experience.migrations import migrations
from supervisor.experience.sqlite.packing import packed_cells, told_cell
from supervisor.experience.store import StoreDownError

BUSY_S = 10.0
"""A writer waits so long for another one's commit."""

PAGE_BYTES = 8192
"""Of new files. A dozen rows of 64 numbers fill a page: less of it is left over than of a smaller one."""

NO_DATABASE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def connect(path: Path) -> sqlite3.Connection:
    """The store in the file, made where there is none. Raises StoreDownError, DamagedStateError."""
    with told(path):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, cached_statements=32)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("PRAGMA secure_delete = off")  # zeros over removed rows are twice the writing
            connection.execute("PRAGMA synchronous = full")  # what was answered for survives a power cut
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    wanted = migrations("sqlite")
    if _schema(connection) == wanted[-1].number:
        return
    with transaction(connection):  # another process may be at it
        now = _schema(connection)
        if now > wanted[-1].number:
            raise DamagedStateError(
                f"{path} was written by a newer version of this program (schema {now}, here {wanted[-1].number});"
                " use that version"
            )
        make_tables(connection, now)
        connection.execute(f"PRAGMA user_version = {wanted[-1].number}")


def make_tables(connection: sqlite3.Connection, schema: int = 0) -> None:
    """What is missing from a schema on; the caller's transaction is not ended."""
    connection.create_function("packed_cells", 11, packed_cells)
    connection.create_function("told_cell", 1, told_cell)
    for migration in migrations("sqlite"):
        if migration.number > schema:
            for statement in _statements(migration.sql):
                connection.execute(statement)


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """Of a script, one by one: `executescript` would commit before each."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """The one writer's: others wait from its first statement on, so that ids are given in the order of commits."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """SQLite's errors as what an operator does about them."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in NO_DATABASE:
            raise DamagedStateError(
                f"{path} is damaged or no SQLite file ({error}); move it away (rows not yet trained on are lost with"
                " it), or save what can be read with sqlite3's .recover"
            ) from error
        if not isinstance(error, sqlite3.OperationalError):
            raise
        raise StoreDownError(f"{path}: {error}; see that its folder can be written and the disk has room") from error
