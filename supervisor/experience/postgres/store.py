"""The experience store in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from supervisor.errors import UsageError
from supervisor.experience.postgres import partitions
from supervisor.experience.postgres.address import Address
from supervisor.experience.postgres.connection import STATEMENT_S, connect, told
from supervisor.experience.postgres.copying import copied
from supervisor.experience.postgres.named_sql import filled, query
from supervisor.experience.postgres.paging import Paging
from supervisor.experience.postgres.schema import check, identity_of
from supervisor.experience.postgres.table import Table
from supervisor.experience.postgres.writing import write
from supervisor.experience.store import (
    BATCH_ROWS,
    BEGINNING,
    Page,
    Parcel,
    Position,
    Reader,
    Selection,
    Stored,
    TargetStats,
)

END = Position(2**63 - 1, 2**63 - 1)


class PostgresStore:
    """An ExperienceStore. A connection that was lost is made again by the next call."""

    def __init__(self, address: Address, statement_s: float = STATEMENT_S) -> None:
        """Raises StoreDownError, NotInitialisedError, DamagedStateError."""
        self._address = address
        self._statement_s = statement_s
        self._connection = connect(address, statement_s)
        self._days: set[date] = set()
        try:
            with told(address):
                self.layout = check(self._connection, address)
                self._identity = identity_of(self._connection, self.layout)
                described = self._connection.execute(query("reading", "columns")).fetchall()
                self.table = Table.found(described)
        except BaseException:
            self._connection.close()
            raise

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def address(self) -> Address:
        return self._address

    @property
    def connection(self) -> Connection[Any]:
        """For what goes beyond experiences: the tables of models, retention, the doctor. Raises StoreDownError."""
        if self._connection.closed:
            self._connection = connect(self._address, self._statement_s)
        return self._connection

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Connection[Any]]:
        with told(self._address):
            yield self.connection

    def write(self, parcels: Sequence[Parcel]) -> list[Stored]:
        if not self.table.is_ours:
            raise UsageError(
                f"{self._address.place}: the table ml_experience_replay was made by somebody else and is only read;"
                " `incumbent store init` in a database of its own makes one that is written too"
            )
        with self._asking() as connection:
            if self.layout == "partitioned":
                self._make_days(connection, parcels)
            return write(connection, parcels)

    def _make_days(self, connection: Connection[Any], parcels: Sequence[Parcel]) -> None:
        today = partitions.today()
        missing = (partitions.days_of(parcels, today) | partitions.ahead(today)) - self._days
        if missing:
            with contextlib.suppress(LockNotAvailable):  # the rows go to the net, which the doctor empties
                partitions.ensure(connection, missing)
            self._days |= missing

    def newest(self, selection: Selection) -> Position | None:
        return self._place(selection, BEGINNING, END, 0, descending=True)

    def nth(self, selection: Selection, after: Position, upto: Position, number: int) -> Position | None:
        return self._place(selection, after, upto, abs(number) - 1, descending=number < 0)

    def _place(
        self, selection: Selection, after: Position, upto: Position, skip: int, descending: bool
    ) -> Position | None:
        with self._asking() as connection:
            found = connection.execute(
                filled(
                    "reading",
                    "place",
                    txid=sql.SQL("{}::text::bigint").format(self.table.txid),
                    id=sql.SQL("id::bigint"),
                    order=self.table.order(descending),
                    skip=sql.Literal(skip),
                    **self._range(selection, after, upto),
                )
            ).fetchone()
        return None if found is None else Position(*found)

    def count(self, selection: Selection, after: Position, upto: Position, at_most: int | None = None) -> int:
        limit, bounds = sql.Literal(at_most), self._range(selection, after, upto)
        with self._asking() as connection:
            found = connection.execute(filled("reading", "count", at_most=limit, **bounds)).fetchone()
        return 0 if found is None else int(found[0])

    def _range(self, selection: Selection, after: Position, upto: Position) -> dict[str, sql.Composable]:
        return {
            "chosen": self.table.chosen(selection),
            "after": self.table.beyond(after, ">"),
            "upto": self.table.beyond(upto, "<="),
            "final": self.table.final(),
        }

    def stream(
        self, selection: Selection, after: Position, upto: Position, batch_rows: int = BATCH_ROWS
    ) -> Iterator[Page]:
        paging = Paging(self.table, selection, after, upto, batch_rows)
        while (statement := paging.statement()) is not None:
            with self._asking() as connection:
                text = statement.as_bytes(connection)
                connection.wait(copied(connection.pgconn, text, paging.rows_at_once, paging.take))
            yield from paging.pages()

    def stats(self) -> list[TargetStats]:
        final, time = self.table.final(), self.table.time()
        with self._asking() as connection:
            found = connection.execute(
                filled("reading", "stats", target=self.table.target(), time=time, final=final)
            ).fetchall()
        return [
            TargetStats(target, rows, oldest, newest, self.newest(Selection(target)) or BEGINNING)
            for target, rows, oldest, newest in found
        ]

    def note_reader(self, reader: Reader) -> None:
        """Nothing where the database has no store of ours: we remove none of its rows."""
        if self.layout is None:
            return
        values = (reader.name, *reader.target.split("/", 1), *reader.position, reader.seen_us)
        with self._asking() as connection:
            connection.execute(query("reading", "note_reader"), values)

    def readers(self) -> list[Reader]:
        if self.layout is None:
            return []
        with self._asking() as connection:
            found = connection.execute(query("reading", "readers")).fetchall()
        return [Reader(name, target, Position(txid, row), seen) for name, target, txid, row, seen in found]

    def close(self) -> None:
        self._connection.close()


def open_postgres(url: str, statement_s: float = STATEMENT_S) -> PostgresStore:
    """The store at `postgresql://user@host/name`; a statement may take so many seconds. Raises UsageError where that
    is no address, StoreDownError, NotInitialisedError, DamagedStateError."""
    return PostgresStore(Address.parse(url), statement_s)
