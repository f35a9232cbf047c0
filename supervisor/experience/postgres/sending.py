"""Statements that are one transaction, sent as one message: the way there and back counts once, not for each of them.

COPY takes what it is sent in small pieces, so that the server stores the first rows while the last are on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from psycopg import errors
from psycopg.abc import Buffer, PQGen
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Wait

from supervisor.experience.postgres.copying import flushed, next_result

PIECE_BYTES = 2**14
"""The server looks at a piece once it has all of it. Half and twice as much were slower."""

Answer = tuple[str, ...]
DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


def sent(
    connection: PGconn, statements: Sequence[bytes], bodies: Callable[[list[Answer]], Sequence[Sequence[Buffer]]]
) -> PQGen[list[Answer]]:
    """The rows that the statements gave. Each `COPY … FROM STDIN` among them takes the next of the `bodies`, which are
    asked for once, at the first of them, with the rows so far. What the server does not take is rolled back, all of
    it. For `wait` of a psycopg connection whose text is UTF-8. Raises psycopg.Error."""
    connection.send_query(b";\n".join(statements))
    try:
        yield from flushed(connection)
        rows, ended = yield from _exchanged(connection, bodies)
    except BaseException:
        if connection.transaction_status == TransactionStatus.ACTIVE:
            connection.finish()  # in the middle of a message nobody can go on
        raise
    for result in ended:
        if result.status not in DONE:
            raise errors.error_from_result(result, "utf-8")
    if len(ended) < len(statements):
        raise errors.OperationalError("the connection was lost")
    return rows


def _exchanged(
    connection: PGconn, bodies: Callable[[list[Answer]], Sequence[Sequence[Buffer]]]
) -> PQGen[tuple[list[Answer], list[PGresult]]]:
    """The rows, and how each statement ended."""
    rows: list[Answer] = []
    ended: list[PGresult] = []
    given: Iterator[Sequence[Buffer]] | None = None
    while (result := (yield from next_result(connection))) is not None:
        if result.status != ExecStatus.COPY_IN:
            ended.append(result)
            rows += _texts(result)
            continue
        if given is None:
            given = iter(bodies(rows))
        yield from _copied_in(connection, next(given))
    return rows, ended


def _copied_in(connection: PGconn, body: Sequence[Buffer]) -> PQGen[None]:
    for whole in body:
        part = memoryview(whole)
        for begin in range(0, len(part), PIECE_BYTES):
            while not connection.put_copy_data(part[begin : begin + PIECE_BYTES]):
                yield Wait.W  # libpq has no room for it
            if len(part) >= PIECE_BYTES:  # small ones libpq itself sends together
                yield from flushed(connection)
    while not connection.put_copy_end():
        yield Wait.W
    yield from flushed(connection)


def _texts(result: PGresult) -> Iterator[Answer]:
    for row in range(result.ntuples):
        yield tuple((result.get_value(row, column) or b"").decode() for column in range(result.nfields))
