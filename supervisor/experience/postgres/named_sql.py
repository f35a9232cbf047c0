"""The queries, which stand by name in SQL files."""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql

from supervisor.experience import named_sql


def script(name: str) -> str:
    """A whole file."""
    return named_sql.script("postgres", name)


def queries(file: str) -> dict[str, str]:
    """Of a file, by the names that stand before them."""
    return named_sql.queries("postgres", file)


def query(file: str, name: str) -> bytes:
    """With `%s` where values belong."""
    return queries(file)[name].encode()


def filled(file: str, name: str, **parts: sql.Composable) -> sql.Composed:
    """With a part of SQL in each pair of braces."""
    return sql.SQL(queries(file)[name]).format(**parts)


def as_text(statement: sql.Composable, connection: Connection[Any]) -> bytes:
    return statement.as_bytes(connection)
