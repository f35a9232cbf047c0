"""Connections that keep to our settings, and what PostgreSQL's errors mean to people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection, errors

from supervisor.errors import IncumbentError, UsageError
from supervisor.experience.postgres.address import Address
from supervisor.experience.postgres.named_sql import query
from supervisor.experience.store import NotInitialisedError, StoreDownError

STATEMENT_S = 60.0
"""A statement that takes longer is given up: each of ours reads or writes a few megabytes."""

LOCK = 0x696E63756D62656E
"""Of the database: those who make or change tables at once follow one another."""

CURES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (errors.QueryCanceled, "it was too slow; see what it is busy with, then this is tried again"),
    (errors.DiskFull, "free some space on the server"),
    (errors.ReadOnlySqlTransaction, "give the address of the primary server, or wait until this one is it"),
    (errors.TooManyConnections, "raise max_connections or end other programs"),
    ((errors.InvalidPassword, errors.InvalidAuthorizationSpecification), "correct user or password of the address"),
    (errors.InvalidCatalogName, "create the database, or correct its name in the address"),
)
PASSING = (
    psycopg.OperationalError,  # no connection, a shutdown, a time-out, a full disk, a deadlock
    psycopg.InterfaceError,  # the connection is closed
    errors.ReadOnlySqlTransaction,
    errors.TransactionRollback,
)


def connect(address: Address, statement_s: float = STATEMENT_S) -> Connection[Any]:
    """In autocommit mode. Raises StoreDownError."""
    with told(address):
        connection: Connection[Any] = psycopg.connect(address.conninfo, autocommit=True)
        try:
            connection.execute(query("session", "session"), {"statement_ms": round(1000 * statement_s)})
        except BaseException:
            connection.close()
            raise
    return connection


async def connect_async(address: Address, statement_s: float = STATEMENT_S) -> AsyncConnection[Any]:
    """In autocommit mode. Raises StoreDownError."""
    with told(address):
        connection: AsyncConnection[Any] = await AsyncConnection.connect(address.conninfo, autocommit=True)
        try:
            await connection.execute(query("session", "session"), {"statement_ms": round(1000 * statement_s)})
        except BaseException:
            await connection.close()
            raise
    return connection


@contextlib.contextmanager
def told(address: Address) -> Iterator[None]:
    """PostgreSQL's errors as what an operator does about them."""
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(error, address) from _without_secrets(error, address)


def _meaning(error: psycopg.Error, address: Address) -> Exception:
    said = address.without_secrets((str(error).strip().splitlines() or [type(error).__name__])[0])
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return NotInitialisedError(f"{address.place}: {said}; `incumbent store init` makes what is missing")
    if isinstance(error, errors.InsufficientPrivilege):
        return UsageError(f"{address.place}: {said}; grant it to the user of the address")
    if isinstance(error, PASSING):
        cure = next((cure for kind, cure in CURES if isinstance(error, kind)), "see that it runs and can be reached")
        return StoreDownError(f"{address.place}: {said}; {cure}")
    return IncumbentError(f"{address.place}: {said}")


def _without_secrets(error: psycopg.Error, address: Address) -> psycopg.Error | None:
    """The cause as it may be shown in a traceback: none where it would tell the password."""
    return None if address.without_secrets(str(error)) != str(error) else error
