"""The queries, which stand by name in SQL files."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

from psycopg import Connection, sql

NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def script(name: str) -> str:
    """A whole file."""
    folder = resources.files("supervisor.experience") / "sql" / "postgres"
    return (folder / f"{name}.sql").read_text(encoding="utf-8")


@cache
def queries(file: str) -> dict[str, str]:
    """Of a file, by the names that stand before them."""
    _, *parts = NAME.split(script(file))
    return dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))


def query(file: str, name: str) -> bytes:
    """With `%s` where values belong."""
    return queries(file)[name].encode()


def filled(file: str, name: str, **parts: sql.Composable) -> sql.Composed:
    """With a part of SQL in each pair of braces."""
    return sql.SQL(queries(file)[name]).format(**parts)


def as_text(statement: sql.Composable, connection: Connection[Any]) -> bytes:
    return statement.as_bytes(connection)
