"""The experience store's stream for programs with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from psycopg import AsyncConnection

from supervisor.experience.postgres.address import Address
from supervisor.experience.postgres.connection import STATEMENT_S, connect_async, told
from supervisor.experience.postgres.copying import copied
from supervisor.experience.postgres.named_sql import query
from supervisor.experience.postgres.paging import Paging
from supervisor.experience.postgres.table import Table
from supervisor.experience.store import BATCH_ROWS, Page, Position, Selection


class AsyncPostgresReader:
    """AsyncReading. One stream at a time."""

    def __init__(self, address: Address, connection: AsyncConnection[Any], table: Table) -> None:
        self._address = address
        self._connection = connection
        self._table = table

    @classmethod
    async def open(cls, url: str, statement_s: float = STATEMENT_S) -> AsyncPostgresReader:
        """Raises UsageError, StoreDownError, NotInitialisedError."""
        address = Address.parse(url)
        connection = await connect_async(address, statement_s)
        try:
            with told(address):
                described = await (await connection.execute(query("reading", "columns"))).fetchall()
            return cls(address, connection, Table.found(described))
        except BaseException:
            await connection.close()
            raise

    async def stream(
        self, selection: Selection, after: Position, upto: Position, batch_rows: int = BATCH_ROWS
    ) -> AsyncIterator[Page]:
        paging = Paging(self._table, selection, after, upto, batch_rows)
        while (statement := paging.statement()) is not None:
            text = statement.as_bytes(self._connection)
            with told(self._address):
                await self._connection.wait(copied(self._connection.pgconn, text, paging.rows_at_once, paging.take))
            for page in paging.pages():
                yield page

    async def close(self) -> None:
        await self._connection.close()
