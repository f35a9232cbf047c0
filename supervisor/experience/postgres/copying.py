"""COPY out of the server, for connections that wait and for those that have an event loop.

A row costs one call of libpq, and what came is added up in one place at once: kept piece by piece it would take three
times the processor's time. It is handed on while the server goes on sending.
"""

from __future__ import annotations

from collections.abc import Callable

from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Wait

SIGNATURE_BYTES, TRAILER_BYTES = 19, 2


def copied(connection: PGconn, statement: bytes, rows_at_once: int, take: Callable[[bytearray], None]) -> PQGen[None]:
    """`take` gets the rows that `COPY (…) TO STDOUT (FORMAT binary)` sends, so many at once but for the last, without
    header and trailer; it must not raise. For `wait` of a psycopg connection. Raises psycopg.Error."""
    connection.send_query(statement)
    yield from flushed(connection)
    ended = yield from next_result(connection)
    if ended is not None and ended.status == ExecStatus.COPY_OUT:
        yield from _receive(connection, rows_at_once, take)
    while (result := (yield from next_result(connection))) is not None:
        ended = result
    if ended is None:
        raise errors.OperationalError("the connection was lost")
    if ended.status != ExecStatus.COMMAND_OK:
        raise errors.error_from_result(ended, "utf-8")


def _receive(connection: PGconn, rows_at_once: int, take: Callable[[bytearray], None]) -> PQGen[None]:
    next_message = connection.get_copy_data
    received, rows, to_skip = bytearray(), 0, SIGNATURE_BYTES
    while True:
        size, message = next_message(1)
        if size > TRAILER_BYTES:
            if to_skip:  # the signature comes with the first row, or with the trailer
                message, to_skip = message[to_skip:], 0
                if len(message) <= TRAILER_BYTES:
                    continue
            received += message
            rows += 1
            if rows == rows_at_once:
                take(received)
                received, rows = bytearray(), 0
        elif size == 0:
            yield Wait.R
            connection.consume_input()
        elif size < 0:
            break
    if rows:
        take(received)


def flushed(connection: PGconn) -> PQGen[None]:
    """Until what was given to libpq is on its way."""
    while connection.flush():
        yield Wait.RW
        connection.consume_input()


def next_result(connection: PGconn) -> PQGen[PGresult | None]:
    """None once the server waits for the next message."""
    while connection.is_busy():
        yield Wait.R
        connection.consume_input()
    return connection.get_result()
