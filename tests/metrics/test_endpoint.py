"""The port that Prometheus asks: quick, quiet, and never in anybody's way."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from supervisor.metrics import endpoint as module
from supervisor.metrics.endpoint import MOST_CONNECTIONS, MOST_HEAD_BYTES, Endpoint, open_endpoint
from supervisor.serving.listening import listen
from tests.support.processes import wait_for

TEXT = b"# TYPE incumbent_iteration gauge\nincumbent_iteration 7.0\n"
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint(listen("127.0.0.1", 0), lambda: TEXT)
    yield endpoint
    endpoint.close()


def ask(endpoint: Endpoint, method: str = "GET", path: str = "/metrics") -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["content-type"]


def connected(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", endpoint.port), timeout=10)


def said(client: socket.socket) -> bytes:
    """Everything until the other side closes."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            heard += part
    return heard


def test_it_answers_with_the_text_and_its_type(endpoint: Endpoint) -> None:
    status, body, content_type = ask(endpoint)
    assert (status, body) == (200, TEXT)
    assert content_type.startswith("text/plain; version=")
    assert ask(endpoint, path="/metrics?x=1")[:2] == (200, TEXT)
    assert ask(endpoint, "HEAD")[:2] == (200, b"")


def test_other_paths_and_methods_are_told_what_there_is(endpoint: Endpoint) -> None:
    assert ask(endpoint, path="/")[:2] == (404, b"there is GET /metrics\n")
    assert ask(endpoint, "DELETE")[:2] == (405, b"there is GET /metrics\n")


def test_who_says_nothing_or_reads_nothing_is_cut_off_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.3)
    endpoint = Endpoint(listen("127.0.0.1", 0), lambda: TEXT * 2**18)  # more than sockets hold
    with contextlib.closing(endpoint), connected(endpoint) as mute, connected(endpoint) as deaf:
        mute.sendall(b"GET /metr")
        deaf.sendall(REQUEST)
        assert len(ask(endpoint)[1]) == len(TEXT) * 2**18
        assert said(mute) == b""
        wait_for("the answer is given up", lambda: not endpoint._connections)
        assert len(said(deaf)) < len(TEXT) * 2**18
    assert capfd.readouterr() == ("", "")


def test_a_head_without_end_is_cut_off_before_its_time_is_over(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 600.0)
    with connected(endpoint) as client, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 3 * MOST_HEAD_BYTES)
        assert said(client) == b""
    assert ask(endpoint)[0] == 200


def test_so_many_connections_and_no_more_are_open_at_a_time(endpoint: Endpoint) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(endpoint)) for _ in range(MOST_CONNECTIONS)]
        wait_for("all are in", lambda: endpoint._connections == MOST_CONNECTIONS)
        with connected(endpoint) as further:
            assert said(further) == b""
        clients[0].sendall(REQUEST)
        assert said(clients[0]).endswith(TEXT)
        wait_for("one is out", lambda: endpoint._connections < MOST_CONNECTIONS)
        assert ask(endpoint)[0] == 200


def test_a_client_that_resets_leaves_no_word_on_the_console(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    for sent in (b"", b"GET", REQUEST):
        client = connected(endpoint)
        client.sendall(sent)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert ask(endpoint)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_closing_cuts_off_who_is_there_ends_the_thread_and_frees_the_port(endpoint: Endpoint) -> None:
    with connected(endpoint) as client:
        wait_for("it is in", lambda: endpoint._connections == 1)
        endpoint.close()
        assert select.select([client], [], [], 10)[0]
        assert said(client) == b""
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
    listen("127.0.0.1", endpoint.port).close()
    endpoint.close()  # a second time is no harm


def opened(host: str, port: int) -> tuple[Endpoint | None, list[str], list[tuple[str, str]]]:
    said: list[str] = []
    reported: list[tuple[str, str]] = []
    endpoint = open_endpoint(host, port, lambda: TEXT, said.append, lambda *event: reported.append(event))
    return endpoint, said, reported


def test_it_says_where_it_listens() -> None:
    endpoint, said, reported = opened("127.0.0.1", 0)
    assert endpoint is not None
    with contextlib.closing(endpoint):
        assert said == [f"metrics on http://127.0.0.1:{endpoint.port}/metrics"]
        assert reported == []


def test_an_address_of_the_newer_kind_is_said_as_a_browser_takes_it() -> None:
    endpoint, said, _ = opened("::1", 0)
    if endpoint is None:
        pytest.skip("this machine has no IPv6")
    with contextlib.closing(endpoint):
        assert said == [f"metrics on http://[::1]:{endpoint.port}/metrics"]


def test_a_port_that_is_taken_is_one_event_that_says_what_to_do(endpoint: Endpoint) -> None:
    second, said, [(event, reason)] = opened("127.0.0.1", endpoint.port)
    assert (second, said, event) == (None, [], "unmeasured")
    assert reason == (
        f"port {endpoint.port} on 127.0.0.1 is taken by another program; stop it, or set another run.metrics_port"
        " (null: none); the run goes on without metrics"
    )
    assert ask(endpoint)[0] == 200


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "x" * 300])
def test_an_address_that_is_none_of_ours_is_one_event_too(host: str) -> None:
    endpoint, said, [(event, reason)] = opened(host, 0)
    assert (endpoint, said, event) == (None, [], "unmeasured")
    assert "run.metrics_host" in reason
