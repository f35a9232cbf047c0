"""Sends odd requests to a server and judges what it answers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections import Counter
from dataclasses import dataclass, field

from tests.support.odd_requests import Odd, OddRequests

FAULTS = re.compile(rb'Traceback|File "|/site-packages/|\.py\b|onnxruntime::')
ALLOWED = {200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 431, 504}
SURE_S = 20.0


@dataclass
class Fuzzing:
    """`statuses` counts the answers; `closed` those requests that the server ended the connection on."""

    port: int
    run_dir: str
    seed: int
    statuses: Counter[int] = field(default_factory=Counter)
    closed: int = 0

    def send(self, count: int) -> None:
        """Raises AssertionError with the request that was answered wrongly."""
        odd = OddRequests(self.seed)
        with contextlib.ExitStack() as open_now:
            connection: socket.socket | None = None
            for _ in range(count):
                request = odd.draw()
                if not request.framed:
                    with self._connect() as own:
                        self._ask(own, request)
                    continue
                connection = connection or open_now.enter_context(self._connect())
                if self._ask(connection, request) is None:
                    open_now.close()
                    connection = None

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SURE_S)

    def _ask(self, connection: socket.socket, request: Odd) -> int | None:
        """The status; None where the connection is over."""
        try:
            connection.sendall(request.raw)
            if not request.framed:
                connection.shutdown(socket.SHUT_WR)
            status, head, body = _answer(connection, request)
        except ConnectionError:
            self.closed += 1
            return None
        if status is None:
            self.closed += 1
            return None
        assert status in ALLOWED, f"{status} {body[:300]!r} for {request.raw[:600]!r}"
        self.statuses[status] += 1
        if status >= 400 and body and b"application/json" in head:
            json.loads(body)
        assert not FAULTS.search(body), f"{body[:600]!r} for {request.raw[:600]!r}"
        assert self.run_dir.encode() not in body, f"{body[:600]!r} for {request.raw[:600]!r}"
        return None if b"connection: close" in head.lower() else status


def _answer(connection: socket.socket, request: Odd) -> tuple[int | None, bytes, bytes]:
    """The first answer that is none of 1xx. Where nobody can tell the request's end, the connection is read to its end,
    whatever comes behind.
    """
    data = b""
    while True:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if separator and head.startswith(b"HTTP/1.1 100"):
            data = rest
            continue
        found = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
        length = int(found[1]) if found and not request.raw.startswith(b"HEAD ") else 0
        if separator and request.framed and len(rest) >= length:
            assert len(rest) == length, f"more than one answer: {data[:600]!r} for {request.raw[:600]!r}"
            return int(head.split()[1]), head, rest
        more = connection.recv(2**20)
        if not more:
            return (int(head.split()[1]), head, rest[:length]) if separator else (None, b"", b"")
        data += more
