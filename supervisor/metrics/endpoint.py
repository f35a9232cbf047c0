"""`GET /metrics` over HTTP while a run goes on: on a thread of its own, so that nobody who asks keeps the loop waiting.

Whoever asks has a few seconds from connecting to having read the answer, and gets no word of ours on the console.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from supervisor.errors import IncumbentError
from supervisor.serving.listening import listen

DEADLINE_S = 5.0
MOST_CONNECTIONS = 32
MOST_HEAD_BYTES = 16 * 1024
CLOSE_S = 1.0
SETTINGS = "run.metrics_"  # what the names of its two settings begin with
END_OF_HEAD = b"\r\n\r\n"
OF_CLIENTS = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


def open_endpoint(
    host: str,
    port: int,
    text: Callable[[], bytes],
    say: Callable[[str], None],
    report: Callable[[str, str], None],
) -> Endpoint | None:
    """The endpoint; None, and an event, where the address cannot be had: a run is worth more than its figures."""
    try:
        endpoint = Endpoint(listen(host, port, SETTINGS), text)
    except IncumbentError as error:
        report("unmeasured", f"{error} (null: none); the run goes on without metrics")
        return None
    say(f"metrics on http://{endpoint.address}/metrics")
    return endpoint


class Endpoint:
    """Answers from the moment it is made until it is closed."""

    def __init__(self, listener: socket.socket, text: Callable[[], bytes]) -> None:
        """`listener` becomes its own; `text` is called on its thread."""
        host, self.port = listener.getsockname()[:2]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._listener = listener
        self._text = text
        self._connections = 0
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cut off who is still there, and free the port."""
        with contextlib.suppress(RuntimeError):  # its thread has ended before
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, self._listener:
            self._loop.set_exception_handler(_unless_of_the_network)
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._converse, sock=self._listener, limit=MOST_HEAD_BYTES)
        await self._over.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        writer.transport.set_write_buffer_limits(0)  # drained is what the system has taken over whole
        self._connections += 1
        try:
            with contextlib.suppress(*OF_CLIENTS):
                if self._connections <= MOST_CONNECTIONS:
                    async with asyncio.timeout(DEADLINE_S):
                        writer.write(self._answer(await reader.readuntil(END_OF_HEAD)))
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response("404 Not Found", b"there is GET /metrics\n")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", b"there is GET /metrics\n", "Allow: GET, HEAD\r\n")
        whole = _response("200 OK", self._text(), content_type=CONTENT_TYPE_LATEST)
        return whole if method == b"GET" else whole[: whole.index(END_OF_HEAD) + len(END_OF_HEAD)]


def _unless_of_the_network(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What clients and the system do to connections is no line of the console; a fault of ours is."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _response(status: str, body: bytes, extra: str = "", content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}"
    return f"{head}Connection: close{END_OF_HEAD.decode()}".encode() + body
