"""Looking after a store in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import Connection, errors, sql

from supervisor.errors import UsageError
from supervisor.experience.caretaker import DAY_US, HOUR_US, BusyError, Day, Overview, Span, blocks_of_one_width
from supervisor.experience.finding import Finding
from supervisor.experience.lag import lag_finding, lags
from supervisor.experience.postgres.connection import told
from supervisor.experience.postgres.doctor import doctor
from supervisor.experience.postgres.named_sql import filled, query
from supervisor.experience.postgres.store import PostgresStore
from supervisor.experience.postgres.tuples import NAMES, experiences_of
from supervisor.experience.rows import MICROSECONDS, Experiences
from supervisor.experience.store import BEGINNING, Position, StoreDownError

READ_ROWS = 4096
KEEPING = 0x6B656570696E67
"""Of the database: one retention at a time."""
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"
"""Who writes waits behind the lock that is waited for."""
PLACE = 2
"""Columns before those of a row: where it stands."""
STATE, CONTROLS = PLACE + NAMES.index("state"), PLACE + NAMES.index("controls")


class PostgresCaretaker:
    """A Caretaker. Raises UsageError where the table is somebody else's: none of its rows are removed."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def overview(self, now_us: int) -> Overview:
        size = "size" if self._store.layout == "partitioned" else "size_plain"
        return Overview(
            self._rows(size)[0][0],
            dict(self._rows("recent", now_us - HOUR_US)),
            dict(self._rows("held")),
            dict(self._rows("quarantine")),
        )

    def findings(self, now_us: int) -> list[Finding]:
        today = datetime.fromtimestamp(now_us / MICROSECONDS, UTC).date()
        with told(self._store.address):
            found = doctor(self._store.connection, today)
        return [*found, *(lag_finding(lag, now_us) for lag in lags(self._store))]

    def days(self, target: str, before_us: int, upto: Position) -> list[Day]:
        self._see_that_it_is_ours()
        found = self._rows("days", *target.split("/", 1), before_us - before_us % DAY_US, str(upto.txid), upto.id)
        return [Day(begin, rows) for begin, rows in found]

    def read(self, span: Span) -> Iterator[Experiences]:
        after = BEGINNING
        while rows := self._rows("read", *_values(span, after), READ_ROWS):
            for block in blocks_of_one_width([(len(row[STATE]), len(row[CONTROLS])) for row in rows]):
                yield experiences_of([row[PLACE:] for row in rows[block]])
            after = Position(*rows[-1][:PLACE])

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """The lock ends with the connection, and so does the retention: its next statement fails."""
        with told(self._store.address):
            connection = self._store.connection
            [(got,)] = connection.execute(query("keeping", "alone"), (KEEPING,)).fetchall()
        if not got:
            raise BusyError(f"{self._store.address.place}: another retention is at work; wait for its end")
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute(query("keeping", "not_alone"), (KEEPING,))

    def remove(self, span: Span, batch_rows: int, reading_since_us: int) -> Iterator[int]:
        self._see_that_it_is_ours()
        if dropped := self._dropped(span, reading_since_us):
            yield dropped
            return
        after, connection = BEGINNING, self._store.connection
        while found := self._rows("edge", *_values(span, after), batch_rows):
            edge = Position(*found[0])
            with told(self._store.address), connection.transaction():
                if self._is_read(connection, replace(span, upto=edge), reading_since_us):
                    return
                values = _values(replace(span, upto=edge), after)
                gone = connection.execute(query("keeping", "remove"), values).rowcount
            yield gone
            after = edge

    def _is_read(self, connection: Connection[Any], span: Span, since_us: int) -> bool:
        """Whether a reader is still before the span's end; until the transaction's end nobody notes a place."""
        connection.execute(query("keeping", "hold_readers"))
        values = (*span.target.split("/", 1), since_us, *span.upto)
        [(slow,)] = connection.execute(query("keeping", "slow_readers"), values).fetchall()
        return bool(slow)

    def _dropped(self, span: Span, reading_since_us: int) -> int:
        """Rows of a day's own table, dropped as a whole where nothing else is in it; 0 where they are to be removed one
        by one. Who writes to that day waits for a moment, and who is written to for long is left alone."""
        found = self._rows("part_of_a_day", span.since_us, span.before_us)
        if not found or self._has_others(found[0][0], span):
            return 0
        part = found[0][0]
        connection = self._store.connection
        try:
            with told(self._store.address), connection.transaction():
                connection.execute(LOCK_TIMEOUT)
                connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(_name(part)))
                if self._has_others(part, span) or self._is_read(connection, span, reading_since_us):
                    return 0
                [(rows,)] = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_name(part))).fetchall()
                connection.execute(sql.SQL("DROP TABLE {}").format(_name(part)))
        except StoreDownError as error:
            if isinstance(error.__cause__, errors.LockNotAvailable):
                return 0
            raise
        return int(rows)

    def _has_others(self, part: str, span: Span) -> bool:
        archetype, model_type = span.target.split("/", 1)
        parts = {"archetype": archetype, "model_type": model_type, "txid": str(span.upto.txid), "id": span.upto.id}
        values = {name: sql.Literal(value) for name, value in parts.items()}
        with told(self._store.address):
            asked = filled("keeping", "has_others", part=_name(part), **values)
            [(others,)] = self._store.connection.execute(asked).fetchall()
        return bool(others)

    def forget(self, before_us: int, batch_rows: int) -> Iterator[int]:
        for name in ("forget_batches", "forget_quarantine"):
            while gone := self._gone(name, before_us, batch_rows):
                yield gone

    def forget_parcels(self, client: str, prefix: str) -> None:
        self._gone("forget_parcels", client, prefix)

    def _rows(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        with told(self._store.address):
            return self._store.connection.execute(query("keeping", name), values, binary=True).fetchall()

    def _gone(self, name: str, *values: object) -> int:
        with told(self._store.address):
            return self._store.connection.execute(query("keeping", name), values).rowcount

    def _see_that_it_is_ours(self) -> None:
        if not self._store.table.is_ours:
            raise UsageError(
                f"{self._store.address.place}: the table ml_experience_replay was made by somebody else; its rows stay"
            )


def _values(span: Span, after: Position) -> tuple[object, ...]:
    bounds = (str(after.txid), after.id, str(span.upto.txid), span.upto.id)
    return (*span.target.split("/", 1), span.since_us, span.before_us, *bounds)


def _name(part: str) -> sql.Identifier:
    """Of a table as `regclass` writes it, with its schema where that is not searched."""
    return sql.Identifier(*(word.strip('"') for word in part.split(".")))
