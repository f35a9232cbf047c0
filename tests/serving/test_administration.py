"""Administration on a listener of its own: there and nowhere else, whoever crowds the first one."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import ConfigurationError, IncumbentError, UsageError
from supervisor.registry.client import ServerClient
from supervisor.registry.delivery import ReloadDelivery
from supervisor.serving.doors import ADMIN_CONNECTIONS
from supervisor.serving.errors import PortTakenError
from supervisor.serving.options import ServerOptions
from supervisor.serving.server import run_server
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATE = {"state": [0.5] * 64}
NAME = TARGET.replace("/", ".")
ORDERS = (
    f"/reload/{TARGET}",
    f"/rollback/{TARGET}",
    f"/v2/repository/models/{NAME}/load",
    f"/v2/repository/models/{NAME}/unload",
)
EVERYBODYS = ("/health", "/ready", "/models", "/v2", f"/v2/models/{NAME}")
TO_ALL = ServerOptions(host="0.0.0.0", port=0, admin_port=0, max_connections=3)


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    folder.promote(models.mlp(2))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    """Open to other machines and without a token."""
    with ServerProcess(folder.path, TO_ALL) as server:
        yield server


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_taken_there_and_on_the_first_listener_it_is_not_there(server: ServerProcess, order: str) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Host": f"localhost:{server.admin_port}"}):
        refused = server.post(order, **headers)
        assert refused.status == 404
        assert "serving.admin_port" in str(refused.body)
        assert str(server.admin_port) not in str(refused.body)
    assert server.post("/infer/" + TARGET, STATE).body["version"] == "v000002"
    assert server.request("POST", order, port=server.admin_port).status == 200


def test_everything_else_is_on_both(server: ServerProcess) -> None:
    for path in EVERYBODYS:
        for port in (server.port, server.admin_port):
            assert server.request("GET", path, port=port).status == 200
    for port in (server.port, server.admin_port):
        assert server.request("POST", f"/infer/{TARGET}", b'{"state":[0]}', port=port).code == "wrong_shape"


def test_web_pages_and_proxies_are_refused_there(server: ServerProcess) -> None:
    for headers in ({"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}, {"Via": "1.1 x"}):
        assert server.request("POST", ORDERS[1], port=server.admin_port, **headers).status == 403
    assert server.post(f"/infer/{TARGET}", STATE, Host="game.example", Via="1.1 x").body["version"] == "v000002"


def test_where_others_reach_it_too_it_needs_the_token(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, ServerOptions(port=0, admin_host="0.0.0.0", admin_port=0, token="s3cret")) as both:
        assert both.request("POST", ORDERS[0], port=both.admin_port).code == "unauthorized"
        right = {"Authorization": "Bearer s3cret"}
        assert both.request("POST", ORDERS[0], port=both.admin_port, **right).status == 200
        assert both.request("POST", ORDERS[0], **right).code == "not_here"


def test_who_fills_the_first_listener_keeps_nobody_from_administering(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            crowd = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            crowd.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert crowd.recv(4096)
        assert server.get("/health").code == "too_many_connections"
        assert server.request("POST", ORDERS[1], port=server.admin_port).body["version"] == "v000001"


def test_its_own_connections_are_bounded_and_take_nothing_from_the_first(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(ADMIN_CONNECTIONS):
            idle = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=30)
            stack.callback(idle.close)
            idle.request("GET", "/health")
            assert idle.getresponse().read()
        assert server.request("GET", "/health", port=server.admin_port).code == "too_many_connections"
        assert server.post(f"/infer/{TARGET}", STATE).status == 200


def test_asked_to_stop_it_answers_what_is_in_flight_on_both(folder: ServedFolder) -> None:
    def begin(port: int, path: str) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", port), timeout=30)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 100 ")
        return raw

    with ServerProcess(folder.path, TO_ALL) as server, contextlib.ExitStack() as stack:
        idle = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        asking = stack.enter_context(begin(server.port, f"/infer/{TARGET}"))
        ordering = stack.enter_context(begin(server.admin_port, ORDERS[0]))
        os.kill(server.process.pid, signal.SIGTERM)
        assert idle.recv(1) == b""  # it has begun to leave
        for raw, status in ((ordering, b"200"), (asking, b"400")):
            raw.sendall(b"{}")
            assert b"".join(iter(lambda raw=raw: raw.recv(4096), b"")).startswith(b"HTTP/1.1 " + status)
        assert server.process.wait(30) == 0


def test_the_supervisors_word_reaches_it_there(server: ServerProcess, folder: ServedFolder) -> None:
    reports: queue.Queue[tuple[str, str]] = queue.Queue()
    client = ServerClient("127.0.0.1", server.admin_port)
    delivery = ReloadDelivery(folder.path, client, folder.folder_id, lambda *report: reports.put(report))
    delivery.changed(TARGET, folder.promote(models.mlp(3)).name)
    server.wait_for_line(TARGET, "v000002 -> v000003")
    assert delivery.close(timeout_s=30) == {}
    assert reports.empty()


def refusal_to_start(folder: ServedFolder, options: ServerOptions) -> IncumbentError:
    with pytest.raises(IncumbentError) as caught:
        run_server(folder.path, options, announce=lambda line: pytest.fail(line))
    return caught.value


def test_a_port_that_is_taken_is_told_and_the_first_one_is_free_again(folder: ServedFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, first = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        error = refusal_to_start(folder, ServerOptions(port=first, admin_port=port))
        assert isinstance(error, PortTakenError)
        assert str(error) == (
            f"port {port} on 127.0.0.1 is taken by another program; stop it, or set another serving.admin_port"
        )
        socket.create_server(("127.0.0.1", first)).close()


def test_an_address_that_cannot_be_used_names_its_own_setting(folder: ServedFolder) -> None:
    unsafe = refusal_to_start(folder, ServerOptions(port=0, admin_host="0.0.0.0", admin_port=0))
    assert isinstance(unsafe, ConfigurationError)
    assert str(unsafe).startswith("serving.admin_host: 0.0.0.0 can be reached by other machines")
    strange = refusal_to_start(folder, ServerOptions(port=0, admin_host="192.0.2.1", admin_port=0))
    assert "set another serving.admin_host or serving.admin_port" in str(strange)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    same = refusal_to_start(folder, ServerOptions(host="127.0.0.2", port=port, admin_port=port))
    assert isinstance(same, UsageError)
    assert "is the first listener's too" in str(same)
