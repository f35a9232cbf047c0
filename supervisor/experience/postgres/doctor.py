"""What is wrong with a store, how much, and what cures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from psycopg import Connection, sql

from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.named_sql import filled, query
from supervisor.experience.postgres.schema import layout_of
from supervisor.experience.postgres.table import Numbers, Table

COUNTED = 1_000_000
"""Beyond so many it does not matter how many."""

TURNS = 20_000
"""Transactions that one statement catches up."""

TARGET_INDEX = ("archetype", "model_type", "txid", "id")


@dataclass(frozen=True)
class Finding:
    what: str
    how_much: str
    cure: str


@dataclass(frozen=True)
class Limits:
    """From where on something is told."""

    lag_s: float = 3600.0
    held_s: float = 60.0
    slot_mb: float = 1024.0


def doctor(connection: Connection[Any], now: date, limits: Limits | None = None) -> list[Finding]:
    """`now` is today, in UTC. Reads the whole table. Raises NotInitialisedError where there is none."""
    limits = limits or Limits()
    table = Table.found(connection.execute(query("reading", "columns")).fetchall())
    layout = layout_of(connection)
    checks: list[Callable[[], Iterator[Finding]]] = [lambda: _columns(table), lambda: _indexes(connection, table)]
    if table.has_txid:
        checks += [lambda: _holders(connection, limits), lambda: _ahead(connection)]
    if table.is_ours and layout is not None:
        checks.append(lambda: _lag(connection, limits))
    if layout == "partitioned":
        checks.append(lambda: _partitions(connection, now))
    if layout is not None:
        checks.append(lambda: _models(connection))
    checks += [lambda: _slots(connection, limits), lambda: _widths(connection, table)]
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        return [finding for check in checks for finding in check()]


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


def repair(connection: Connection[Any], now: date) -> None:
    """What the doctor says of rows ahead of the server, of missing days and of rows in the default partition."""
    catch_up(connection)
    if layout_of(connection) == "partitioned":
        partitions.make_ahead(connection, now)
        partitions.empty_net(connection)


def _distance(connection: Connection[Any]) -> int:
    row = connection.execute(query("doctor", "ahead")).fetchone()
    return 0 if row is None or row[0] == 0 else int(row[1]) + 1


def _columns(table: Table) -> Iterator[Finding]:
    if not table.has_txid:
        yield Finding(
            "the table of experience has no column txid of type xid8",
            "every row that commits after one with a higher id was read is never read",
            "ALTER TABLE ml_experience_replay ADD COLUMN txid xid8 NOT NULL DEFAULT pg_current_xact_id(), then"
            " start the readers from the beginning",
        )
    if "timestamp" not in table.columns:
        yield Finding(
            "the table of experience has no column timestamp",
            "rows cannot be chosen or removed by their age",
            'ALTER TABLE ml_experience_replay ADD COLUMN "timestamp" timestamptz NOT NULL DEFAULT now()',
        )


def _indexes(connection: Connection[Any], table: Table) -> Iterator[Finding]:
    found = [tuple(row[0]) for row in connection.execute(query("doctor", "indexes")).fetchall()]
    wanted = tuple(name for name in TARGET_INDEX if name in table.columns)
    if not any(columns[: len(wanted)] == wanted for columns in found):
        yield Finding(
            f"no index on ({', '.join(wanted)})",
            "each page that is read sorts the whole table",
            f"CREATE INDEX CONCURRENTLY ON ml_experience_replay ({', '.join(wanted)})",
        )
    if "timestamp" in table.columns and not any(columns[:1] == ('"timestamp"',) for columns in found):
        yield Finding(
            "no index on timestamp",
            "whoever asks for the last hour reads the whole table",
            'CREATE INDEX CONCURRENTLY ON ml_experience_replay USING brin ("timestamp")',
        )


def _holders(connection: Connection[Any], limits: Limits) -> Iterator[Finding]:
    asked = {"seconds": limits.held_s}
    held = connection.execute(query("doctor", "held_back"), {"at_most": COUNTED}).fetchone() or (0,)
    waiting = f"{_counted(held[0])} rows are held back"
    for pid, name, state, seconds, began, text in connection.execute(query("doctor", "holders"), asked).fetchall():
        yield Finding(
            f"the transaction of process {pid} ({name or 'no name'}, {state}; its last statement began {began}: {text})"
            " is open",
            f"for {seconds:.0f} s; {waiting}",
            f"end the program, or SELECT pg_terminate_backend({pid})",
        )
    for gid, owner, database, seconds in connection.execute(query("doctor", "prepared"), asked).fetchall():
        yield Finding(
            f"the prepared transaction {gid} of {owner} in database {database} is open",
            f"for {seconds:.0f} s; {waiting}",
            f"COMMIT PREPARED '{gid}' or ROLLBACK PREPARED '{gid}' in that database",
        )


def _slots(connection: Connection[Any], limits: Limits) -> Iterator[Finding]:
    found = connection.execute(query("doctor", "slots"), {"megabytes": limits.slot_mb}).fetchall()
    for name, active, megabytes in found:
        yield Finding(
            f"the replication slot {name} ({'in use' if active else 'nobody uses it'}) keeps the server's log",
            f"{megabytes:,.0f} MB",
            f"see what uses it, or SELECT pg_drop_replication_slot('{name}')",
        )


def _ahead(connection: Connection[Any]) -> Iterator[Finding]:
    row = connection.execute(query("doctor", "ahead")).fetchone()
    if row is not None and row[0]:
        yield Finding(
            "rows of transactions that this server has not had yet: the table was restored from another one",
            f"{row[0]:,} rows, up to {row[1]:,} transactions ahead: they are not read, and new rows come before them",
            "`incumbent store doctor --repair` lets the transactions catch up",
        )


def _lag(connection: Connection[Any], limits: Limits) -> Iterator[Finding]:
    for name, target, rows, seconds in connection.execute(query("doctor", "unread"), {"at_most": COUNTED}).fetchall():
        if seconds > limits.lag_s:
            yield Finding(
                f"reader {name} of {target} lags behind",
                f"by {_counted(rows)} rows, {seconds:.0f} s",
                "see that its run is alive; if it is gone for good, delete its rows in ml_experience_readers",
            )


def _partitions(connection: Connection[Any], now: date) -> Iterator[Finding]:
    wanted = {now + timedelta(number) for number in range(partitions.DAYS_AHEAD + 1)}
    cure = "`incumbent store doctor --repair` makes them"
    if missing := sorted(wanted - set(partitions.days(connection))):
        yield Finding("days have no table", ", ".join(day.isoformat() for day in missing), cure)
    if lying := partitions.in_net(connection):
        ends = f"{min(lying).isoformat()} to {max(lying).isoformat()}"
        yield Finding(
            "rows lie in the default partition", f"{sum(lying.values()):,} rows of {len(lying)} days, {ends}", cure
        )


def _widths(connection: Connection[Any], table: Table) -> Iterator[Finding]:
    sizes = {Numbers.BYTES: "octet_length(state) / 4.0", Numbers.JSON: "jsonb_array_length(state::jsonb)"}
    width = sql.SQL(sizes.get(table.states, "cardinality(state)"))
    found: dict[str, dict[float, int]] = {}
    statement = filled("doctor", "widths", target=table.target(), width=width)
    for target, numbers, rows in connection.execute(statement).fetchall():
        found.setdefault(target, {})[float(numbers or 0)] = rows
    for target, widths in found.items():
        if len(widths) > 1:
            usual = max(widths, key=lambda one: widths[one])
            others = ", ".join(f"{rows:,} rows of {one:g}" for one, rows in widths.items() if one != usual)
            yield Finding(
                f"states of {target} differ in length",
                f"{others} where {usual:g} numbers are usual",
                "they are left out by whoever asks for one width; correct the program that writes them",
            )


def _models(connection: Connection[Any]) -> Iterator[Finding]:
    for target, count in connection.execute(query("doctor", "active")).fetchall():
        yield Finding(
            f"several versions of {target} are active",
            f"{count} versions",
            "UPDATE ml_model_versions SET active = false for all but the one that is served",
        )
    if not connection.execute(query("doctor", "active_index")).fetchone():
        yield Finding(
            "no unique index keeps two versions of a target from being active",
            "ml_model_versions",
            "CREATE UNIQUE INDEX ml_model_versions_active ON ml_model_versions (archetype, model_type) WHERE active",
        )


def _counted(rows: int) -> str:
    return f"more than {rows:,}" if rows == COUNTED else f"{rows:,}"
