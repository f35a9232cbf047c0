"""Making the store's tables, and bringing them up to date."""

from __future__ import annotations

from typing import Any, Literal, get_args

from psycopg import Connection, sql

from supervisor.errors import DamagedStateError, UsageError
from supervisor.experience.migrations import migrations
from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.address import Address
from supervisor.experience.postgres.connection import LOCK, connect, told
from supervisor.experience.postgres.named_sql import script
from supervisor.experience.postgres.repair import FOREIGN, repair
from supervisor.experience.store import NotInitialisedError

Layout = Literal["plain", "partitioned", "hypertable"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def create(url: str, layout: Layout = "plain") -> str:
    """The store's tables, where there are none; the layout that the store has now. Raises UsageError where there is
    a store of another layout or TimescaleDB is wanted and not there, StoreDownError."""
    address = Address.parse(url)
    with told(address), connect(address) as connection, connection.transaction():
        _alone(connection)
        found = layout_of(connection)
        if found is None:
            return _create(connection, layout)
        if found not in (layout, FOREIGN):
            raise UsageError(f"{address.place} has a store of layout {found} already; its layout is chosen once")
        _migrate(connection, address)
        return found


def migrate(url: str) -> int:
    """The migrations that the store still lacks, and what the doctor cannot cure otherwise; the number of its schema
    then. Raises NotInitialisedError, DamagedStateError where the store is newer than this program, StoreDownError."""
    address = Address.parse(url)
    with told(address), connect(address) as connection:
        with connection.transaction():
            _alone(connection)
            layout = layout_of(connection)
            if layout is None:
                raise NotInitialisedError(f"{address.place} has no store; `incumbent store init` makes one")
            number = _migrate(connection, address)
        repair(connection, layout, partitions.today())
    return number


def check(connection: Connection[Any], address: Address) -> str | None:
    """The layout of a store that this program can work with; None where there is none, which is no fault where
    somebody else made a table of experience. Raises NotInitialisedError, DamagedStateError."""
    layout, wanted = layout_of(connection), migrations("postgres")[-1].number
    if layout is None:
        return None
    now = schema_of(connection)
    if now > wanted:
        raise _newer(address, now, wanted)
    if now < wanted:
        raise NotInitialisedError(
            f"{address.place}: the store has schema {now}, this program needs {wanted}; `incumbent store migrate`"
            " brings it up to date"
        )
    return layout


def layout_of(connection: Connection[Any]) -> str | None:
    """None where there is no store."""
    found = connection.execute("SELECT to_regclass('ml_experience_store') IS NOT NULL").fetchone()
    if found is None or not found[0]:
        return None
    row = connection.execute("SELECT layout FROM ml_experience_store").fetchone()
    return None if row is None else str(row[0])


def identity_of(connection: Connection[Any], layout: str | None) -> str:
    """Empty where there is no store beside the table."""
    row = connection.execute("SELECT identity FROM ml_experience_store").fetchone() if layout is not None else None
    return "" if row is None else str(row[0])


def schema_of(connection: Connection[Any]) -> int:
    row = connection.execute("SELECT schema FROM ml_experience_store").fetchone()
    return 0 if row is None else int(row[0])


def _create(connection: Connection[Any], layout: Layout) -> str:
    if layout == "hypertable":
        _see_that_timescale_is_there(connection)
    for migration in migrations("postgres"):
        connection.execute(migration.sql.encode())
    made: str = layout
    row = connection.execute("SELECT to_regclass('ml_experience_replay') IS NOT NULL").fetchone()
    if row is not None and row[0]:
        made = FOREIGN
    elif layout == "hypertable":
        connection.execute(script("layout_plain").encode())
        connection.execute(script("layout_hypertable").encode())
    else:
        connection.execute(script(f"layout_{layout}").encode())
    if made == "partitioned":
        partitions.make_ahead(connection, partitions.today())
    connection.execute(
        "INSERT INTO ml_experience_store (schema, layout) VALUES (%s, %s)", (migrations("postgres")[-1].number, made)
    )
    return made


def _migrate(connection: Connection[Any], address: Address) -> int:
    wanted, now = migrations("postgres"), schema_of(connection)
    if now > wanted[-1].number:
        raise _newer(address, now, wanted[-1].number)
    for migration in wanted:
        if migration.number > now:
            connection.execute(migration.sql.encode())
    connection.execute("UPDATE ml_experience_store SET schema = %s", (wanted[-1].number,))
    return wanted[-1].number


def _newer(address: Address, now: int, wanted: int) -> DamagedStateError:
    return DamagedStateError(
        f"{address.place}: the store was made by a newer version of this program (schema {now}, here {wanted}); use"
        " that version"
    )


def _see_that_timescale_is_there(connection: Connection[Any]) -> None:
    if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone() is None:
        raise UsageError("the server has no TimescaleDB; install it there, or choose the layout partitioned")


def _alone(connection: Connection[Any]) -> None:
    connection.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(LOCK)))
