"""What a connection may do, byte by byte: requests one behind the other, torn, slow, too large, too many."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATES = np.random.default_rng(2).standard_normal((8, models.STATE)).astype(np.float32)
VALUES = models.mlp_values(1, STATES)
OTHER = "tank/combat_dqn"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ServedFolder:
    folder = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    folder.promote(models.mlp(1))
    folder.promote(models.mlp(2), OTHER)
    return folder


@pytest.fixture(scope="module")
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path, ServerOptions(port=0, max_body_kb=64)) as server:
        yield server


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


class Wire:
    """A plain connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._rest = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def read(self) -> Answer:
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers["content-length"])
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Waits for more bytes, or for the end."""
        return self._rest == b"" and self.socket.recv(1) == b""

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"the server closed the connection after {self._rest!r}"
        self._rest += data


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with Wire(server.port) as wire:
        yield wire


def request(body: bytes, path: str = f"/infer/{TARGET}", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asking(row: int, target: str = TARGET) -> bytes:
    return request(json.dumps({"state": STATES[row].tolist()}).encode(), f"/infer/{target}")


def the_action(answer: Answer) -> object:
    (action,) = answer.value["actions"]  # type: ignore[misc]
    return action


def test_requests_one_behind_the_other_are_answered_in_their_order(wire: Wire) -> None:
    order = [0, 1, "/health", 2, "unknown", 3, "/models", "/health", 4, 5]
    for what in order:
        if isinstance(what, int):
            wire.send(asking(what, TARGET if what % 2 else OTHER))
        elif what == "unknown":
            wire.send(request(b"{}", "/infer/no/model"))
        else:
            wire.send(request(b"", what, method="GET"))
    for what in order:
        answer = wire.read()
        if isinstance(what, int):
            values = models.mlp_values(1 if what % 2 else 2, STATES[what : what + 1])
            assert the_action(answer) == int(values.argmax())
        elif what == "unknown":
            assert answer.status == 404
        else:
            assert ("models" in answer.value, "run_id" in answer.value) == (True, what == "/health")


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_that_comes_in_pieces_is_answered(wire: Wire, size: int) -> None:
    whole = asking(0)
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.send(*(whole[begin : begin + size] for begin in range(0, len(whole), size)))
    assert the_action(wire.read()) == int(VALUES[0].argmax())


def test_a_chunked_body_is_answered(wire: Wire) -> None:
    body = json.dumps({"state": STATES[0].tolist()}).encode()
    wire.send(f"POST /infer/{TARGET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    wire.send(*(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:10], body[10:], b"")))
    assert the_action(wire.read()) == int(VALUES[0].argmax())


def test_rows_of_bare_numbers_are_answered_with_bare_numbers(wire: Wire) -> None:
    wire.send(request(STATES.tobytes(), f"/infer/{TARGET}", "Content-Type: application/octet-stream"))
    answer = wire.read()
    found = np.frombuffer(answer.body, "<f4").reshape(8, 10)
    assert answer.headers["x-model-version"] == "v000001"
    assert answer.headers["content-type"] == "application/octet-stream"
    np.testing.assert_allclose(found, VALUES, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [0, 1, 255, 257])
def test_bare_numbers_that_are_no_rows_are_refused(wire: Wire, size: int) -> None:
    wire.send(request(b"x" * size, f"/infer/{TARGET}", "Content-Type: application/octet-stream"))
    answer = wire.read()
    assert answer.status == 400
    assert "256 bytes, 64 little-endian float32" in answer.body.decode()


@pytest.mark.parametrize(
    "odd", [f"/infer/{TARGET}?now=1", "/infer/%61ggressive/combat_dqn", f"/v2/models/{TARGET.replace('/', '.')}/infer?"]
)
def test_a_path_that_is_written_in_another_way_is_answered_too(wire: Wire, odd: str) -> None:
    if odd.startswith("/v2"):
        body = {"inputs": [{"name": "state", "datatype": "FP32", "shape": [1, 64], "data": STATES[0].tolist()}]}
        wire.send(request(json.dumps(body).encode(), odd))
        assert wire.read().value["model_version"] == "v000001"
    else:
        wire.send(request(json.dumps({"state": STATES[0].tolist()}).encode(), odd))
        assert the_action(wire.read()) == int(VALUES[0].argmax())


def test_asked_to_close_the_server_answers_first(wire: Wire) -> None:
    wire.send(request(json.dumps({"state": STATES[0].tolist()}).encode(), f"/infer/{TARGET}", "Connection: close"))
    answer = wire.read()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert wire.is_closed()


def test_an_answer_has_a_date(wire: Wire) -> None:
    wire.send(asking(0))
    assert wire.read().headers["date"].endswith("GMT")


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"X: " + b"a" * 200_000, 431, "head_too_large"),
        (b"".join(b"X%d: 1\r\n" % k for k in range(20_000)), 431, "head_too_large"),
        (b"".join(b"X%d: 1\r\n" % k for k in range(300)), 431, "head_too_large"),
        (b"X: \x00\r\n\r\n", 400, "not_http"),
    ],
)
def test_a_head_that_is_too_large_or_none_is_refused(
    server: ServerProcess, head: bytes, status: int, code: str
) -> None:
    with Wire(server.port) as wire:
        with contextlib.suppress(ConnectionError):
            wire.send(f"POST /infer/{TARGET} HTTP/1.1\r\nHost: x\r\n".encode(), head)
        answer = wire.read()
        assert (answer.status, answer.value["error"]["code"]) == (status, code)  # type: ignore[index]
        assert answer.headers["connection"] == "close"


def test_a_body_that_grows_too_large_is_refused_and_the_answer_arrives(wire: Wire) -> None:
    wire.send(f"POST /infer/{TARGET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    wire.send(*[chunk] * 30)
    answer = wire.read()
    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_requests_that_do_not_come_are_given_up_and_the_others_are_served(folder: ServedFolder) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess(folder.path, ServerOptions(port=0, body_timeout_s=0.2)))
        slow = [stack.enter_context(Wire(server.port)) for _ in range(50)]
        head = f"POST /infer/{TARGET} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n".encode()
        for number, wire in enumerate(slow):
            wire.send(head[: 1 + number % 40] if number % 2 else head + b"\r\n{")
        wire = stack.enter_context(Wire(server.port))
        for row in range(8):
            wire.send(asking(row))
            assert the_action(wire.read()) == int(VALUES[row].argmax())
        for own in slow:
            assert own.read().status == 408
            assert own.is_closed()


def test_beyond_the_bound_connections_are_told_to_come_again(folder: ServedFolder) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess(folder.path, ServerOptions(port=0, max_connections=3)))
        first = [stack.enter_context(Wire(server.port)) for _ in range(3)]
        for wire in first:  # each is known to the server once it has answered
            wire.send(asking(0))
            assert wire.read().status == 200
        answer = stack.enter_context(Wire(server.port)).read()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        first[0].socket.close()
        first[1].send(request(b"", "/health", method="GET"))  # its answer comes after the server has seen that end
        assert first[1].read().status == 200
        again = stack.enter_context(Wire(server.port))
        again.send(asking(0))
        assert again.read().status == 200


@pytest.mark.parametrize("odd", ["", "Content-Encoding: identity\r\n"])  # read by the connection, by the application
def test_bodies_that_do_not_end_are_held_up_to_a_bound_and_the_oldest_goes(folder: ServedFolder, odd: str) -> None:
    head = f"POST /infer/{TARGET} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n{odd}\r\n".encode()
    with contextlib.ExitStack() as stack:
        code = "import supervisor.serving.room as room; room.MAX_HELD_MB = 1"
        options = ServerOptions(port=0, body_timeout_s=60)
        server = stack.enter_context(ServerProcess(folder.path, options, before=code))
        first, second, other = (stack.enter_context(Wire(server.port)) for _ in range(3))
        first.send(head + b" " * 800_000)
        other.send(asking(0))  # seen after the first one's
        assert other.read().status == 200
        second.send(head + b" " * 800_000)
        if odd:
            assert first.is_closed()
        else:
            assert (first.read().status, first.is_closed()) == (503, True)
        second.send(b" " * 100_000)
        assert second.read().status == 400  # whole, and nothing but blanks
        other.send(asking(1))
        assert other.read().status == 200


@pytest.mark.parametrize("sent", ["head", "half"])
def test_asked_to_stop_amidst_a_request_it_answers_and_leaves(folder: ServedFolder, sent: str) -> None:
    whole = asking(0)
    cut = whole.index(b"\r\n\r\n") + (4 if sent == "head" else 40)
    with ServerProcess(folder.path) as server, Wire(server.port) as wire, Wire(server.port) as idle:
        wire.send(asking(1))
        assert wire.read().status == 200
        wire.send(whole[:cut])
        idle.send(request(b"", "/health", method="GET"))
        assert idle.read().status == 200
        os.kill(server.process.pid, signal.SIGTERM)
        assert idle.is_closed()
        wire.send(whole[cut:])
        answer = wire.read()
        assert (the_action(answer), answer.headers["connection"]) == (int(VALUES[0].argmax()), "close")
        assert server.process.wait(30) == 0


def test_a_client_that_does_not_read_its_answers_is_not_read_from(folder: ServedFolder, tmp_path: Path) -> None:
    """It sends for ever and reads nothing: what it can fill is the kernel's buffers and ours up to a bound."""
    with ServerProcess(folder.path) as server, Wire(server.port) as greedy, Wire(server.port) as wire:
        greedy.socket.setblocking(False)
        body = request(STATES.tobytes(), f"/infer/{TARGET}", "Content-Type: application/octet-stream") * 50
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 2**30:
                sent += greedy.socket.send(body)
                if sent % 7 == 0:  # others are served meanwhile
                    wire.send(asking(0))
                    assert wire.read().status == 200
        assert sent < 2**28
        wire.send(asking(0))
        assert wire.read().status == 200


def test_more_connections_than_the_system_allows_are_told_so_and_not_left_waiting(folder: ServedFolder) -> None:
    with contextlib.ExitStack() as stack:
        code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))"
        server = stack.enter_context(ServerProcess(folder.path, before=code))
        first = [stack.enter_context(Wire(server.port)) for _ in range(32)]
        for wire in first:
            wire.send(asking(0))
            assert wire.read().status == 200
        assert stack.enter_context(Wire(server.port)).read().status == 503
        first[0].send(asking(1))
        assert first[0].read().status == 200
