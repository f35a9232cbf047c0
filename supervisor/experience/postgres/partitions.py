"""A table for each day: made ahead, made when rows come, dropped when their time is over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from psycopg import Connection, sql

from supervisor.experience.postgres.connection import LOCK
from supervisor.experience.postgres.named_sql import filled
from supervisor.experience.store import Parcel

DAYS_BEHIND, DAYS_AHEAD = 31, 2
"""A row of a day beyond these (a client's clock is wrong) goes to the net: it shall not make a table."""

LOCK_TIMEOUT = "5s"
"""Taking in a day waits for whoever reads the net; a write had better go on into the net."""

DAY_US = 86_400_000_000


def today() -> date:
    return datetime.now(UTC).date()


def days_of(parcels: Iterable[Parcel], now: date) -> set[date]:
    """Of the rows, those near enough to `now` for a table of their own."""
    numbers = {
        int(number)
        for parcel in parcels
        for _, rows in parcel.experiences
        for number in np.unique(rows.times // DAY_US)
    }
    first = (now - date(1970, 1, 1)).days
    return {date(1970, 1, 1) + timedelta(n) for n in numbers if -DAYS_BEHIND <= n - first <= DAYS_AHEAD}


def days(connection: Connection[Any]) -> list[date]:
    """That have a table."""
    return [row[0] for row in connection.execute(filled("partitions", "days")).fetchall()]


def ensure(connection: Connection[Any], wanted: Iterable[date]) -> list[date]:
    """Tables for the days that have none; the days. Rows of theirs that lay in the net are moved. Raises psycopg's
    LockNotAvailable where somebody reads the net for too long."""
    missing = sorted(set(wanted) - set(days(connection)))
    for day in missing:
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
            connection.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(LOCK))
            if day not in days(connection):  # another writer was first
                begin, end = (sql.Literal(f"{one.isoformat()} 00:00:00+00") for one in (day, day + timedelta(1)))
                connection.execute(filled("partitions", "make", table=_table(day), begin=begin, end=end))
    return missing


def ahead(now: date) -> set[date]:
    """Today and the days to come that shall have a table."""
    return {now + timedelta(number) for number in range(DAYS_AHEAD + 1)}


def make_ahead(connection: Connection[Any], now: date) -> list[date]:
    """Tables for today and the days to come; the days that had none."""
    return ensure(connection, ahead(now))


def drop_before(connection: Connection[Any], day: date) -> list[date]:
    """Whole days, with their rows: the days. Whether somebody has still to read them is for the caller to know."""
    gone = [one for one in days(connection) if one < day]
    for one in gone:
        with connection.transaction():
            connection.execute(filled("partitions", "drop", table=_table(one)))
    return gone


def in_net(connection: Connection[Any]) -> dict[date, int]:
    """Rows that lie in no day's table, by day."""
    return dict(connection.execute(filled("partitions", "in_net")).fetchall())


def empty_net(connection: Connection[Any]) -> dict[date, int]:
    """Each day's rows in the net move to a table of its own; what was there."""
    found = in_net(connection)
    ensure(connection, found)
    return found


def _table(day: date) -> sql.Identifier:
    return sql.Identifier(f"ml_experience_replay_{day:%Y%m%d}")
