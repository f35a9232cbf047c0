"""What is wrong with a store, how much, and what cures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection, sql

from supervisor.experience.finding import Finding, Severity
from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.named_sql import filled, query
from supervisor.experience.postgres.schema import layout_of
from supervisor.experience.postgres.table import Numbers, Table

COUNTED = 1_000_000
"""Beyond so many it does not matter how many."""

REPAIR = "incumbent store migrate"
TARGET_INDEX = ("archetype", "model_type", "txid", "id")


@dataclass(frozen=True)
class Limits:
    """From where on something is told."""

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
    if layout == "partitioned":
        checks.append(lambda: _partitions(connection, now))
    if layout is not None:
        checks.append(lambda: _models(connection))
    checks += [lambda: _slots(connection, limits), lambda: _widths(connection, table)]
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        return [finding for check in checks for finding in check()]


def _columns(table: Table) -> Iterator[Finding]:
    if not table.has_txid:
        yield Finding(
            "no_txid",
            "ml_experience_replay has no column txid of type xid8: each row that commits after one with a higher id was"
            " read is never read. Once it has one, readers begin anew",
            "ALTER TABLE ml_experience_replay ADD COLUMN txid xid8 NOT NULL DEFAULT pg_current_xact_id()",
        )
    if "timestamp" not in table.columns:
        yield Finding(
            "no_timestamp",
            "ml_experience_replay has no column timestamp: its rows cannot be chosen or removed by their age",
            'ALTER TABLE ml_experience_replay ADD COLUMN "timestamp" timestamptz NOT NULL DEFAULT now()',
        )


def _indexes(connection: Connection[Any], table: Table) -> Iterator[Finding]:
    found = [tuple(row[0]) for row in connection.execute(query("doctor", "indexes")).fetchall()]
    wanted = tuple(name for name in TARGET_INDEX if name in table.columns)
    if not any(columns[: len(wanted)] == wanted for columns in found):
        columns = ", ".join(wanted)
        yield Finding(
            "missing_index",
            f"ml_experience_replay has no index on ({columns}): each page that is read sorts the whole table",
            f"CREATE INDEX ON ml_experience_replay ({columns})",
        )
    if "timestamp" in table.columns and not any(columns[:1] == ('"timestamp"',) for columns in found):
        yield Finding(
            "missing_index",
            "ml_experience_replay has no index on timestamp: whoever asks for the last hour reads the whole table",
            'CREATE INDEX ON ml_experience_replay USING brin ("timestamp")',
        )


def _holders(connection: Connection[Any], limits: Limits) -> Iterator[Finding]:
    asked = {"seconds": limits.held_s}
    held = connection.execute(query("doctor", "held_back"), {"at_most": COUNTED}).fetchone() or (0,)
    rows = f"more than {held[0]:,}" if held[0] == COUNTED else f"{held[0]:,}"
    for pid, name, state, seconds, began, text in connection.execute(query("doctor", "holders"), asked).fetchall():
        yield Finding(
            "horizon",
            f"process {pid} ({name or 'without a name'}, {state}) has had a transaction open for {seconds:.0f} s and"
            f" holds {rows} rows back; its last statement, begun {began}: {text}",
            f"SELECT pg_terminate_backend({pid})",
        )
    for gid, owner, database, seconds in connection.execute(query("doctor", "prepared"), asked).fetchall():
        yield Finding(
            "horizon",
            f"the prepared transaction {gid} of {owner} in database {database} has been open for {seconds:.0f} s and"
            f" holds {rows} rows back",
            f"ROLLBACK PREPARED '{gid}'",
        )


def _slots(connection: Connection[Any], limits: Limits) -> Iterator[Finding]:
    found = connection.execute(query("doctor", "slots"), {"megabytes": limits.slot_mb}).fetchall()
    for name, active, megabytes in found:
        yield Finding(
            "replication_slot",
            f"the replication slot {name} ({'in use' if active else 'nobody uses it'}) keeps {megabytes:,.0f} MB of the"
            " server's log",
            f"SELECT pg_drop_replication_slot('{name}')",
            Severity.NOTE if active else Severity.WRONG,
        )


def _ahead(connection: Connection[Any]) -> Iterator[Finding]:
    row = connection.execute(query("doctor", "ahead")).fetchone()
    if row is not None and row[0]:
        yield Finding(
            "ahead",
            f"{row[0]:,} rows are of transactions that this server has not had yet, up to {row[1]:,} ahead (the table"
            " was restored from another server): they are not read, and new rows come before them",
            REPAIR,
        )


def _partitions(connection: Connection[Any], now: date) -> Iterator[Finding]:
    if missing := sorted(partitions.ahead(now) - set(partitions.days(connection))):
        days = ", ".join(day.isoformat() for day in missing)
        yield Finding("missing_partition", f"no table for {days}: rows of these days go to the net", REPAIR)
    if lying := partitions.in_net(connection):
        span = f"{min(lying).isoformat()} to {max(lying).isoformat()}"
        what = f"{sum(lying.values()):,} rows of {len(lying)} days ({span}) lie in the default partition"
        yield Finding("default_partition", what, REPAIR)


def _widths(connection: Connection[Any], table: Table) -> Iterator[Finding]:
    sizes = {Numbers.BYTES: "octet_length(state) / 4.0", Numbers.JSON: "jsonb_array_length(state::jsonb)"}
    width = sizes.get(table.states, "cardinality(state)")
    statement = filled("doctor", "widths", target=table.target(), width=sql.SQL(width))
    usual: dict[str, float] = {}
    for target, numbers, rows in connection.execute(statement).fetchall():
        if numbers != usual.setdefault(target, numbers):
            has = "none" if numbers is None else f"{float(numbers):g}"
            condition = "state IS NULL" if numbers is None else f"{width} = {numbers}"
            yield Finding(
                "wrong_dimension",
                f"{target}: {rows:,} rows have states of {has} numbers where most have {float(usual[target]):g}; a"
                " training takes those of its model's width alone",
                f"DELETE FROM ml_experience_replay WHERE {table.target().as_string()} = '{target}' AND {condition}",  # noqa: S608
            )


def _models(connection: Connection[Any]) -> Iterator[Finding]:
    for target, count, newest in connection.execute(query("doctor", "active")).fetchall():
        archetype, model_type = target.split("/", 1)
        yield Finding(
            "several_active",
            f"{count} versions of {target} are active in ml_model_versions; if the newest is the one that is served",
            f"UPDATE ml_model_versions SET active = false WHERE archetype = '{archetype}'"  # noqa: S608
            f" AND model_type = '{model_type}' AND active AND id <> {newest}",
        )
    if not connection.execute(query("doctor", "active_index")).fetchone():
        yield Finding(
            "missing_index",
            "nothing keeps two versions of a target in ml_model_versions from being active",
            "CREATE UNIQUE INDEX ml_model_versions_active ON ml_model_versions (archetype, model_type) WHERE active",
        )
