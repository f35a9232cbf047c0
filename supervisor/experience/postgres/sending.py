"""Statements that are one transaction, sent as one message: the way there and back counts once, not for each of them.

COPY takes what it is sent in small pieces, so that the server stores the first rows while the last are on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Wait

from supervisor.experience.postgres.copying import flushed, next_result

PIECE_BYTES = 2**14
"""The server looks at a piece once it has all of it. Half and twice as much were slower."""

Answer = tuple[str, ...]


def sent(
    connection: PGconn, statements: bytes, bodies: Callable[[list[Answer]], Sequence[bytes]]
) -> PQGen[list[Answer]]:
    """The rows that the statements gave. Each `COPY … FROM STDIN` among them takes the next of the `bodies`, which are
    asked for once, at the first of them, with the rows so far; that must not raise. What the server does not take is
    rolled back, all of it. For `wait` of a psycopg connection whose text is UTF-8. Raises psycopg.Error."""
    connection.send_query(statements)
    yield from flushed(connection)
    rows: list[Answer] = []
    given: Iterator[bytes] | None = None
    failed: PGresult | None = None
    while (result := (yield from next_result(connection))) is not None:
        if result.status == ExecStatus.COPY_IN:
            if given is None:
                given = iter(bodies(rows))
            yield from _copied_in(connection, next(given))
        elif result.status == ExecStatus.TUPLES_OK:
            rows += _texts(result)
        elif result.status != ExecStatus.COMMAND_OK:
            failed = result
    if failed is not None:
        raise errors.error_from_result(failed, "utf-8")
    return rows


def _copied_in(connection: PGconn, body: bytes) -> PQGen[None]:
    for begin in range(0, len(body), PIECE_BYTES):
        while not connection.put_copy_data(body[begin : begin + PIECE_BYTES]):
            yield Wait.W  # libpq has no room for it
        yield from flushed(connection)
    while not connection.put_copy_end():
        yield Wait.W
    yield from flushed(connection)


def _texts(result: PGresult) -> Iterator[Answer]:
    for row in range(result.ntuples):
        yield tuple((result.get_value(row, column) or b"").decode() for column in range(result.nfields))
