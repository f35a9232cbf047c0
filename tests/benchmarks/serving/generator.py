"""The load generator, a process of its own: a spec on standard input, what it met on standard output.

Every connection has one request under way. A connection of the closed loop sends its next request when the answer is
there; in the open loop requests fall due at a given rate, whether or not the server keeps up, and the time that a
request waited for a free connection counts.
"""

from __future__ import annotations

import array
import asyncio
import base64
import collections
import gc
import itertools
import json
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import psutil
import uvloop

from tests.benchmarks.serving.quiet import busy_s

DRAIN_S = 5.0  # for the last answers; what is not there then has failed
PACE_S = 0.0002  # between looks at what fell due
MAX_FAILURES = 1000  # after so many a lost connection is not opened again


@dataclass(frozen=True)
class Spec:
    """What to send; `requests` are written in base64 and sent in turn."""

    port: int
    requests: list[str]
    connections: int
    seconds: float
    warm_s: float = 0.5
    rate_per_s: float | None = None  # None: closed loop
    pids: list[int] = field(default_factory=list)  # the server's processes


@dataclass
class Met:
    """What came of it. Times in the server are user and system time of all its processes."""

    answered: int = 0
    failed: int = 0
    seconds: float = 0.0
    server_cpu_s: float = 0.0
    own_cpu_s: float = 0.0
    others_cores: float = 0.0  # that neither server nor generator took
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0
    first_failure: str = ""


class Load:
    """All connections together, and the clock."""

    def __init__(self, spec: Spec) -> None:
        self.requests = [base64.b64decode(request) for request in spec.requests]
        self._spec = spec
        self._met = Met()
        self._latencies_s = array.array("d")
        self._counting = self._stopping = False
        self._connections: set[Connection] = set()
        self._idle: collections.deque[Connection] = collections.deque()
        self._due: collections.deque[float] = collections.deque()
        self._arrivals = random.Random(0)
        self._processes = [psutil.Process(pid) for pid in spec.pids]

    async def run(self) -> Met:
        for number in range(self._spec.connections):
            await self.connect(number)
        self._next_due_s = time.perf_counter()
        if self._spec.rate_per_s:
            sys.setswitchinterval(PACE_S)  # or the pacing thread may wait 5 ms for its turn
            pacing = threading.Thread(target=self._pace, args=[asyncio.get_running_loop()], daemon=True)
            pacing.start()
        await asyncio.sleep(self._spec.warm_s)
        others_s, own_cpu_s, begun_s = busy_s(), time.process_time(), time.perf_counter()
        cpu_s = self._server_cpu_s()
        self._counting = True
        await asyncio.sleep(self._spec.seconds)
        self._counting, self._stopping = False, True
        self._met.seconds = time.perf_counter() - begun_s
        self._met.server_cpu_s = self._server_cpu_s() - cpu_s
        self._met.own_cpu_s = time.process_time() - own_cpu_s
        others_s = busy_s() - others_s - self._met.server_cpu_s - self._met.own_cpu_s
        self._met.others_cores = max(0.0, others_s / self._met.seconds)
        await self._drain()
        ordered = sorted(self._latencies_s) or [0.0]
        self._met.p50_ms, self._met.p99_ms = (1e3 * ordered[int(q * (len(ordered) - 1))] for q in (0.5, 0.99))
        self._met.worst_ms = 1e3 * ordered[-1]
        return self._met

    async def connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Connection(self, number), "127.0.0.1", self._spec.port)

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._next(connection)

    def left(self, connection: Connection, number: int, under_way: bool) -> None:
        self._connections.discard(connection)
        if self._stopping:
            return
        if under_way or not self._spec.rate_per_s:
            self.fail("the server closed the connection")
        if connection in self._idle:
            self._idle.remove(connection)
        if self._met.failed <= MAX_FAILURES:
            self._reconnecting = asyncio.get_running_loop().create_task(self.connect(number))

    def answered(self, connection: Connection, due_s: float, ok: bool, answer: bytes) -> None:
        if self._counting:
            self._latencies_s.append(time.perf_counter() - due_s)
            self._met.answered += 1
        if not ok:
            self.fail(answer[:300].decode(errors="replace"))
        self._next(connection)

    def fail(self, why: str) -> None:
        self._met.failed += 1
        self._met.first_failure = self._met.first_failure or why

    def _next(self, connection: Connection) -> None:
        if self._stopping:
            return
        if not self._spec.rate_per_s:
            connection.send(time.perf_counter())
        elif self._due:
            connection.send(self._due.popleft())
        else:
            self._idle.append(connection)

    def _pace(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread of its own: the loop's timers know no less than a millisecond, more than an answer takes."""
        while not self._stopping:
            loop.call_soon_threadsafe(self._send_due)
            time.sleep(PACE_S)

    def _send_due(self) -> None:
        """All that are due by now; they fall due independently of each other (exponential gaps)."""
        assert self._spec.rate_per_s
        now_s = time.perf_counter()
        while self._next_due_s <= now_s and not self._stopping:
            if self._idle:
                self._idle.popleft().send(self._next_due_s)
            else:
                self._due.append(self._next_due_s)
            self._next_due_s += self._arrivals.expovariate(self._spec.rate_per_s)

    async def _drain(self) -> None:
        until_s = time.perf_counter() + DRAIN_S
        while (left := sum(c.due_s is not None for c in self._connections)) and time.perf_counter() < until_s:
            await asyncio.sleep(0.01)
        self._met.failed += left
        if left:
            self._met.first_failure = self._met.first_failure or f"{left} without an answer after {DRAIN_S:g} s"

    def _server_cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes if process.is_running())


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._number = number
        first = number % len(load.requests)
        self._requests = itertools.cycle(load.requests[first:] + load.requests[:first])
        self._head = b"\0"  # of the last answer: the next one mostly has the same, and need not be parsed
        self._length = 0
        self._ok = False
        self._pending = b""
        self.due_s: float | None = None  # when the request under way was due; None: idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No check of its class: uvloop's are none of asyncio's.
        self._write = cast(asyncio.WriteTransport, transport).write
        self._load.joined(self)

    def connection_lost(self, _: Exception | None) -> None:
        under_way, self.due_s = self.due_s is not None, None
        self._load.left(self, self._number, under_way)

    def send(self, due_s: float) -> None:
        self.due_s = due_s
        self._write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        if not data.startswith(self._head) and not self._parse_head(data):
            self._pending = data
            return
        if len(data) < self._length:
            self._pending = data
            return
        self._pending = b""
        due_s, self.due_s = self.due_s, None
        assert due_s is not None, "an answer that nobody asked for"
        self._load.answered(self, due_s, self._ok and len(data) == self._length, data)

    def _parse_head(self, data: bytes) -> bool:
        """Whether the head is there whole. An answer without a Content-Length ends where its last chunk does."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return False
        head = data[:end].lower()
        at = head.find(b"\ncontent-length:")  # not the end of Inference-Header-Content-Length
        self._ok = head.startswith(b"http/1.1 200 ")
        if at < 0:
            last = data.find(b"\r\n0\r\n\r\n", end - 2)
            self._head, self._length = b"\0", last + 7
            return last >= 0
        self._head, self._length = data[:end], end + int(head[at + 16 : head.index(b"\r", at)])
        return True


def main() -> None:
    spec = Spec(**json.load(sys.stdin))
    gc.disable()  # nothing here makes cycles, and a collection would be counted as the server's time
    met = uvloop.run(Load(spec).run())
    json.dump(asdict(met), sys.stdout)


if __name__ == "__main__":
    main()
