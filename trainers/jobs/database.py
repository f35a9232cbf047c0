"""Experience out of PostgreSQL: rows of `ml_experience_replay`, read as a stream."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from supervisor.errors import StorageUnreachableError, UsageError

VARIABLE = "INCUMBENT_DATABASE_URL"
TABLE = "ml_experience_replay"
COLUMNS = ("state", "action", "reward", "next_state", "done")
CONNECT_S = 10
FETCHED = 256

Row = tuple[NDArray[np.float32], int, float, NDArray[np.float32], bool]


@contextmanager
def connected() -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Raises UsageError without an address, StorageUnreachableError where nothing answers or the table is missing."""
    address = os.environ.get(VARIABLE)
    if not address:
        raise UsageError(
            f"{VARIABLE} is not set; give it postgresql://user@host/name (a password may stand in ~/.pgpass)"
        )
    try:
        with psycopg.connect(address, connect_timeout=CONNECT_S) as connection:
            connection.read_only = True
            yield connection
    except psycopg.errors.UndefinedTable as error:
        raise StorageUnreachableError(
            f"the database has no table {TABLE}; see that {VARIABLE} names the right one"
        ) from error
    except psycopg.errors.UndefinedColumn as error:
        columns = ", ".join((*COLUMNS, "archetype"))
        raise StorageUnreachableError(f"{TABLE}: {_first_line(error)}; the columns {columns} are read") from error
    except psycopg.Error as error:
        raise StorageUnreachableError(
            f"the database does not answer: {_first_line(error)}; see that it runs and what {VARIABLE} says"
        ) from error


def rows_of(connection: psycopg.Connection[tuple[Any, ...]], archetype: str) -> Iterator[tuple[Any, ...]]:
    """An archetype's rows as they lie in the table, the oldest first where the table has an id."""
    known = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name = 'id'", [TABLE]
    ).fetchone()
    query = sql.SQL("SELECT {columns} FROM {table} WHERE archetype = {archetype}{order}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        table=sql.Identifier(TABLE),
        archetype=sql.Literal(archetype),
        order=sql.SQL(" ORDER BY id" if known else ""),
    )
    with connection.cursor(name="experience") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(query)
        yield from cursor


def experience(row: tuple[Any, ...], width: int) -> Row | None:
    """A row as numbers; None where it is not an experience of `width` finite numbers and a finite reward."""
    state, action, reward, next_state, done = row
    try:
        before, after = numbers(state), numbers(next_state)
        found = before, int(action), float(reward), after, bool(done)
    except (TypeError, ValueError):
        return None
    whole = before.shape == after.shape == (width,) and np.isfinite(before).all() and np.isfinite(after).all()
    return found if whole and np.isfinite(found[2]) else None


def numbers(value: object) -> NDArray[np.float32]:
    """A state as tables keep it: little-endian float32 bytes, an array of numbers, or JSON. Raises ValueError."""
    if isinstance(value, bytes | bytearray | memoryview):
        return np.frombuffer(value, "<f4").astype(np.float32)
    return np.asarray(json.loads(value) if isinstance(value, str) else value, np.float32)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
