"""One client's connection. Inference requests are answered right here; everything else goes to the application.

uvicorn's protocol does the rest. A request is answered here when its path is written in the usual way and names a model
that is known, and when nothing else of this connection is under way in the application; any other inference request
takes the application's route to the same desk, so answers are the same either way.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import Any, ClassVar, cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from supervisor.serving.asked import Sent, Written
from supervisor.serving.desk import READ_HEADERS, Desk, Request, Route
from supervisor.serving.doors import Doors
from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256  # a short one takes many times the memory that its bytes take
LINGER_S = 1.0
KEEP_ALIVE_S = 75
_OK = STATUS_LINE[200]
_OIP = (b"/v2/", b"/v2?")
_LOOKED_AT = READ_HEADERS | {b"content-length", b"expect", b"content-encoding", b"upgrade"}
_log = logging.getLogger(__name__)


class Turn(Request):
    """A request that is answered here, in the order in which they came."""

    __slots__ = ("body", "connection", "headers", "keep_alive", "route", "told")

    def __init__(self, connection: Connection, route: Route, keep_alive: bool, headers: dict[bytes, bytes]) -> None:
        self.connection, self.route, self.keep_alive, self.headers = connection, route, keep_alive, headers
        self.body: bytes | bytearray = b""
        self.told: Written | ApiError | None = None

    def deliver(self, told: Written | ApiError) -> None:
        self.told = told
        self.connection.tell()


class _Busy:
    """Stands for an answer that is not yet given, so that uvicorn lets what comes behind it wait."""

    response_complete = False


class Connection(HttpToolsProtocol):
    """`came_s` is when the last request began, `began_s` the same while its head, or its body if that is read here, is
    not whole; `heard_s` when anything last came, `held_bytes` how much is there of a body that is not whole."""

    _common: ClassVar[tuple[list[tuple[bytes, bytes]] | None, bytes]] = (None, b"")

    def __init__(
        self,
        desk: Desk,
        options: ServerOptions,
        doors: Doors,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: Any = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._desk, self._options, self._max_body_bytes = desk, options, options.max_body_kb * 1024
        self._doors = doors
        self.url = b""
        self._turns: deque[Turn] = deque()  # not answered yet, oldest first
        self._turn: Turn | None = None  # whose body is coming
        self._read_headers: dict[bytes, bytes] = {}
        self._odd = False  # a header says that the application must look
        self._head_bytes = 0
        self._leaving = False
        self._over = False  # the last word is said, whatever still comes
        self.began_s: float | None = None
        self.came_s = self.heard_s = 0.0
        self.held_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.heard_s = self.loop.time()
        self._door = self._doors.of(self.server)
        self._door.connections += 1
        if self._door.connections > self._door.max_connections:
            self._desk.refused_connections += 1
            error = ApiError(503, "too_many_connections", "too many connections; try again", {"Retry-After": "1"})
            self.give_up(error, linger_s=0.0)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._door.connections -= 1

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self.heard_s = self.loop.time()
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is nothing to upgrade to, so the request is answered as it is
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self.began_s is not None and self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
                told = f"at most {MAX_HEAD_BYTES // 1024} kB of headers, and {MAX_HEADERS} of them"
                self.give_up(ApiError(431, "head_too_large", told))

    # what the parser calls

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._read_headers = {}
        self._odd = False
        self._head_bytes = 0
        self.began_s = self.came_s = self.heard_s

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name not in _LOOKED_AT:
            return
        if name in READ_HEADERS:
            self._read_headers[name] = value
        elif name == b"content-length":
            self._odd = self._odd or not value.isdigit() or int(value) > self._max_body_bytes
        else:
            self._odd = True
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        if self._over:
            return
        self._head_bytes = -1
        route = self._desk.route(self.url) if self._is_plain() else None
        if route is not None:
            self._turn = Turn(self, route, self.parser.should_keep_alive(), self._read_headers)
            self._turns.append(self._turn)
            return
        self.began_s = None  # the application watches its bodies itself
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        if self._turns:
            self.cycle = cast(RequestResponseCycle, _Busy)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.held_bytes += len(body)
        turn = self._turn
        if turn is None:
            if not self._over:
                super().on_body(body)
            return
        if self.held_bytes > self._max_body_bytes:
            self.give_up(ApiError(413, "body_too_large", f"at most {self._options.max_body_kb} kB in one request"))
        elif not turn.body:
            turn.body = body
        else:
            turn.body = bytearray(turn.body) if isinstance(turn.body, bytes) else turn.body
            turn.body += body

    def on_message_complete(self) -> None:
        self.held_bytes = 0
        turn = self._turn
        if turn is None:
            if not self._over:
                super().on_message_complete()
            return
        self._turn = self.began_s = None
        try:
            sent = Sent(bytes(turn.body), turn.headers)
            self._desk.ask(turn.route.slot, None, turn.route.is_oip, sent, turn)
        except ApiError as error:
            turn.deliver(error)
        except Exception:
            _log.exception("an inference request met a fault of the server")
            turn.deliver(ApiError(500, "internal_error", "a fault of the server; its console says more"))

    def _is_plain(self) -> bool:
        return (
            not self._odd
            and (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and not self.transport.is_closing()
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        )

    # answers

    def tell(self) -> None:
        """Write the answers that are there, up to the first that is not."""
        turns = self._turns
        while turns and (told := turns[0].told) is not None:
            turn = turns.popleft()
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                continue
            stays = turn.keep_alive and not self._leaving
            head = self._common_head() if stays else self._common_head() + b"connection: close\r\n"
            self.transport.write(answered(told, turn.route.is_oip, head))
            if not stays:
                self.transport.close()
        if self.flow.write_paused:
            self.flow.pause_reading()  # whoever does not read is not read from
        if self.pipeline and not turns:
            self._start_asgi_task(*self.pipeline.pop())

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def _common_head(self) -> bytes:
        """uvicorn's own headers: the date, which it renews once a second."""
        lines, head = Connection._common
        if lines is not self.server_state.default_headers:
            lines = self.server_state.default_headers
            head = b"".join(b"%b: %b\r\n" % pair for pair in lines)
            Connection._common = (lines, head)
        return head

    def give_up(self, error: ApiError, linger_s: float = LINGER_S) -> None:
        """Tell the client why, unless it waits for another answer, and close.

        What it still sends is taken in for a moment: closed with something unread, the connection would be reset, and
        the client would not get to see the answer.
        """
        if self._over or self.transport.is_closing():
            return
        self._over = True
        self.held_bytes = 0
        waits = [turn for turn in self._turns if turn is not self._turn]
        if waits or not (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
            return
        self._turns.clear()
        self._turn = self.began_s = None
        is_oip = self.url == b"/v2" or self.url.startswith(_OIP)
        self.transport.write(answered(error, is_oip, head=b"connection: close\r\n"))
        if linger_s:
            self.transport.write_eof()
            self.loop.call_later(linger_s, self.transport.close)
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What is not even HTTP gets its answer in JSON too."""
        self.give_up(ApiError(400, "not_http", msg))

    # the end

    def look(self, now_s: float) -> None:
        """Called now and then: give up a request that does not come, close a connection that is not used."""
        limit_s = self._options.body_timeout_s
        if self.began_s is not None and now_s - self.began_s > limit_s:
            code = "body_timeout" if self._head_bytes < 0 else "head_timeout"
            self.give_up(ApiError(408, code, f"the request was not here whole within {limit_s:g} s; send it again"))
        elif self._is_idle and now_s - self.heard_s > KEEP_ALIVE_S:
            self.transport.close()

    @property
    def _is_idle(self) -> bool:
        """Nothing is coming and nobody waits for anything."""
        return self.began_s is None and not self._turns and (self.cycle is None or self.cycle.response_complete)

    def shutdown(self) -> None:
        self._leaving = True
        if not self._turns and self.began_s is None:
            super().shutdown()


def answered(told: Written | ApiError, is_oip: bool, head: bytes) -> bytes:
    """The bytes of an answer; `head` are header lines of the connection's own."""
    if isinstance(told, ApiError):
        body = json.dumps({"error": told.message} if is_oip else told.body()).encode()
        extra = b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in told.headers.items())
        start, content_type = STATUS_LINE[told.status], b"application/json"
    else:
        body, content_type, start = told.body, told.content_type, _OK
        extra = b"".join([b"%b: %b\r\n" % pair for pair in told.headers]) if told.headers else b""
    return b"%b%bcontent-type: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        start,
        head,
        content_type,
        extra,
        len(body),
        body,
    )
