"""COPY out of the server, for connections that wait and for those that have an event loop.

psycopg's own way costs a few microseconds a row; here a row costs one call of libpq.
"""

from __future__ import annotations

from psycopg import errors
from psycopg.abc import Buffer, PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Wait


def copied(connection: PGconn, statement: bytes) -> PQGen[list[Buffer]]:
    """The pieces of what `COPY … TO STDOUT` sends; for `wait` of a psycopg connection. Raises psycopg.Error."""
    connection.send_query(statement)
    while connection.flush():
        yield Wait.RW
        connection.consume_input()
    started = yield from _result(connection)
    pieces: list[Buffer] = []
    if started is not None and started.status == ExecStatus.COPY_OUT:
        yield from _pieces(connection, pieces)
    ended = started
    while (result := (yield from _result(connection))) is not None:
        ended = result
    if ended is None or ended.status != ExecStatus.COMMAND_OK:
        raise _error(ended)
    return pieces


def _pieces(connection: PGconn, pieces: list[Buffer]) -> PQGen[None]:
    next_piece, keep = connection.get_copy_data, pieces.append
    while True:
        size, data = next_piece(1)
        if size > 0:
            keep(data)
        elif size == 0:
            yield Wait.R
            connection.consume_input()
        else:
            return


def _result(connection: PGconn) -> PQGen[PGresult | None]:
    while connection.is_busy():
        yield Wait.R
        connection.consume_input()
    return connection.get_result()


def _error(result: PGresult | None) -> Exception:
    if result is None:
        return errors.OperationalError("the connection was lost")
    return errors.error_from_result(result, "utf-8")
