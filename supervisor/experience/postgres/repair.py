"""Curing what the doctor finds and no statement of SQL cures."""

from __future__ import annotations

from datetime import date
from typing import Any

from psycopg import Connection, sql

from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.named_sql import filled, query

FOREIGN = "foreign"
"""The layout of a store whose table of experience somebody else made: it is kept as it is."""

TURNS = 20_000
"""Transactions that one statement catches up."""


def catch_up(connection: Connection[Any], at_most: int = 100_000_000) -> int:
    """Lets the server's transactions run on until no row is ahead of them, so that every reader's position stays good.
    How many that were; it stops at `at_most`. About 100,000 a second. The connection is in autocommit mode."""
    connection.execute("SET synchronous_commit = off")
    done = 0
    try:
        while done < at_most and (distance := _distance(connection)) > 0:
            turns = min(distance, TURNS, at_most - done)
            connection.execute(filled("doctor", "catch_up", turns=sql.Literal(turns)))
            done += turns
    finally:
        connection.execute("RESET synchronous_commit")
    return done


def repair(connection: Connection[Any], layout: str | None, now: date) -> None:
    """What the doctor says of rows ahead of the server, of missing days and of rows in the default partition."""
    if layout is not None and layout != FOREIGN:
        catch_up(connection)
    if layout == "partitioned":
        partitions.make_ahead(connection, now)
        partitions.empty_net(connection)


def _distance(connection: Connection[Any]) -> int:
    row = connection.execute(query("doctor", "ahead")).fetchone()
    return 0 if row is None or row[0] == 0 else int(row[1]) + 1
