"""The load, a process of its own: a spec on standard input, `ready` on standard output, in the end a log of answers.

Every connection sends its next request when the answer is there, or so many times a second, until standard input is
closed. Half of the connections ask in the Open Inference Protocol's binary form, half with bare rows.
"""

from __future__ import annotations

import array
import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import uvloop

from tests.benchmarks.serving.form import HEADER_LENGTH, OIP_BINARY, RAW
from tests.benchmarks.swaps import nets
from tests.support.onnx_models import ACTIONS

WARM_S = 0.5
DRAIN_S = 5.0  # for the last answers; what is not there then has failed
KEPT_HEADS = 1000
MAX_FAILURES = 1000  # after so many a lost connection is not opened again
OUTPUT_BYTES = ACTIONS * 4
FAILED, UNKNOWN = -1, -2  # in place of a version's number

_VERSION, _LENGTH = b"\r\nx-model-version: ", b"\r\ncontent-length: "
_OIP_LENGTH = f"\r\n{HEADER_LENGTH.lower()}: ".encode()


@dataclass(frozen=True)
class Spec:
    """`seeds` says which network each version is."""

    port: int
    target: str
    connections: int
    hidden: list[int]
    seeds: dict[str, int]
    log: str  # file to write
    rate_hz: float | None = None  # of each connection; None: as fast as it is answered


@dataclass
class Load:
    """Notes what came; the judgement whether a version may have answered is made afterwards."""

    spec: Spec
    stopping: bool = False
    kept: dict[bytes, int] = field(default_factory=dict)  # what stands before the outputs -> the version's number
    faults: list[str] = field(default_factory=list)  # the first few, for people
    sent_s: array.array[float] = field(default_factory=lambda: array.array("d"))
    answered_s: array.array[float] = field(default_factory=lambda: array.array("d"))
    versions: array.array[int] = field(default_factory=lambda: array.array("h"))
    wrong: array.array[int] = field(default_factory=lambda: array.array("b"))
    under_way: int = 0

    def __post_init__(self) -> None:
        self._names = {name: number for number, name in enumerate(self.spec.seeds)}
        size = nets.Size("", self.spec.hidden)
        states = nets.states(self.spec.connections)
        by_seed = {seed: size.values(seed, states) for seed in set(self.spec.seeds.values())}
        _check_distinct(list(by_seed.values()))
        self._expected = [by_seed[seed] for seed in self.spec.seeds.values()]
        # The same bytes are compared once for each version and state: every answer is checked, most by look-up.
        self._right: list[list[set[bytes]]] = [[set() for _ in states] for _ in self._expected]
        forms = (OIP_BINARY, RAW)
        self._requests = [
            forms[row % 2].request(states[row : row + 1], self.spec.target) for row in range(self.spec.connections)
        ]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in range(self.spec.connections):
            await self._connect(number)
        await asyncio.sleep(WARM_S)
        for column in (self.sent_s, self.answered_s, self.versions, self.wrong):
            del column[:]  # nothing is awaited in between, so the columns stay in step
        loop.add_reader(sys.stdin.fileno(), stop.set)
        print("ready", flush=True)
        await stop.wait()
        self.stopping = True
        until_s = time.monotonic() + DRAIN_S
        while self.under_way and time.monotonic() < until_s:
            await asyncio.sleep(0.01)
        for _ in range(self.under_way):
            self.fail(time.monotonic(), f"no answer after {DRAIN_S:g} s")

    async def _connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(
            lambda: Connection(self, number, self._requests[number]), "127.0.0.1", self.spec.port
        )

    def lost(self, number: int, sent_s: float) -> None:
        self.fail(sent_s, "the server closed the connection")
        if len(self.faults) <= MAX_FAILURES:
            self._reconnecting = asyncio.get_running_loop().create_task(self._connect(number))

    def fail(self, sent_s: float, why: str) -> None:
        self._note(sent_s, time.monotonic(), FAILED, False)
        self.faults.append(why)

    def read(self, data: bytes) -> int | None:
        """The number of the version that answers, FAILED or UNKNOWN; None where the answer is not whole yet."""
        end = data.find(b"\r\n\r\n") + 4
        head = data[:end].lower()
        if end < 4 or len(data) < end + int(_value(head, _LENGTH) or 0):
            return None
        if not head.startswith(b"http/1.1 200 "):
            self.faults.append(data[:300].decode(errors="replace"))
            return FAILED
        name, json_bytes = _value(head, _VERSION), _value(head, _OIP_LENGTH)
        if json_bytes:
            name = json.loads(data[end : end + int(json_bytes)])["model_version"].encode()
        if len(data) != end + int(json_bytes or 0) + OUTPUT_BYTES or name is None:
            return UNKNOWN
        number = self._names.get(name.decode(), UNKNOWN)
        if len(self.kept) > KEPT_HEADS:  # the date is in them
            self.kept.clear()
        self.kept[data[:-OUTPUT_BYTES]] = number
        return number

    def answered(self, sent_s: float, answered_s: float, row: int, number: int, outputs: bytes) -> None:
        wrong = number == UNKNOWN or (number >= 0 and not self._is_right(number, row, outputs))
        self._note(sent_s, answered_s, number, wrong)
        if wrong:
            self.faults.append(f"wrong answer of version number {number}: {outputs[:20]!r}")

    def _is_right(self, number: int, row: int, outputs: bytes) -> bool:
        right = self._right[number][row]
        if outputs in right:
            return True
        if not nets.is_same(np.frombuffer(outputs, "<f4"), self._expected[number][row]):
            return False
        right.add(outputs)
        return True

    def _note(self, sent_s: float, answered_s: float, number: int, wrong: bool) -> None:
        self.sent_s.append(sent_s)
        self.answered_s.append(answered_s)
        self.versions.append(number)
        self.wrong.append(wrong)

    def save(self) -> None:
        np.savez(
            self.spec.log,
            sent_s=self.sent_s,
            answered_s=self.answered_s,
            versions=self.versions,
            wrong=self.wrong,
            faults=self.faults[:3],
        )


class Connection(asyncio.Protocol):
    """One request under way at a time."""

    def __init__(self, load: Load, number: int, request: bytes) -> None:
        self._load, self._number, self._request = load, number, request
        self._sent_s: float | None = None
        self._pending = b""
        self._due_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No check of its class: uvloop's are none of asyncio's.
        self._write = cast(asyncio.WriteTransport, transport).write
        spec = self._load.spec
        if spec.rate_hz:  # not all at once
            self._due_s = time.monotonic() + self._number / spec.connections / spec.rate_hz
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if self._sent_s is not None:
            self._load.under_way -= 1
            self._load.lost(self._number, self._sent_s)

    def _send(self) -> None:
        if not self._load.stopping:
            self._load.under_way += 1
            self._sent_s = time.monotonic()
            self._write(self._request)

    def data_received(self, data: bytes) -> None:
        answered_s = time.monotonic()
        if self._pending:
            data = self._pending + data
        number = self._load.kept.get(data[:-OUTPUT_BYTES])
        if number is None:
            number = self._load.read(data)
        if number is None:
            self._pending = data
            return
        self._pending = b""
        sent_s, self._sent_s = self._sent_s, None
        assert sent_s is not None, "an answer that nobody asked for"
        self._load.under_way -= 1
        self._load.answered(sent_s, answered_s, self._number, number, data[-OUTPUT_BYTES:])
        self._next()

    def _next(self) -> None:
        rate_hz = self._load.spec.rate_hz
        if rate_hz is None:
            self._send()
            return
        self._due_s += 1 / rate_hz
        wait_s = self._due_s - time.monotonic()
        if wait_s <= 0:
            self._send()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._send)


def _value(head: bytes, name: bytes) -> bytes | None:
    at = head.find(name)
    return head[at + len(name) : head.index(b"\r", at + 2)] if at >= 0 else None


def _check_distinct(expected: list[nets.Rows]) -> None:
    """Versions are known by their answers: no two may pass for each other, for any state."""
    for number, one in enumerate(expected):
        for other in expected[:number]:
            assert not any(nets.is_same(a, b) or nets.is_same(b, a) for a, b in zip(one, other, strict=True))


def main() -> None:
    load = Load(Spec(**json.loads(sys.stdin.readline())))
    gc.disable()  # nothing here makes cycles, and a collection would be counted as the server's time
    uvloop.run(load.run())
    load.save()


if __name__ == "__main__":
    main()
