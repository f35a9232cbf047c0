"""The HTTP interface of a real server process."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from supervisor.errors import IncumbentError
from supervisor.serving.errors import PortTakenError
from supervisor.serving.options import ServerOptions
from supervisor.serving.probe import Health, probe_server
from supervisor.serving.server import run_server
from tests.support import onnx_models as models
from tests.support.served_folder import RUN_ID, TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATE = [0.5] * 64
INFER = f"/infer/{TARGET}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ServedFolder:
    folder = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    folder.promote(models.mlp(1))
    data, interface = models.two_inputs()
    folder.promote(data, "mage/spatial_vit", interface)
    return folder


@pytest.fixture(scope="module")
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path, ServerOptions(port=0, max_body_kb=64, max_rows=16, max_in_flight=4)) as server:
        yield server


@pytest.fixture(scope="module")
def hurried(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path, ServerOptions(port=0, body_timeout_s=0.1)) as server:
        yield server


def test_a_state_is_answered_with_version_outputs_and_action(server: ServerProcess) -> None:
    reply = server.post(INFER, {"state": STATE})
    expected = models.mlp_values(1, np.array([STATE], np.float32))
    assert reply.status == 200
    assert reply.body["version"] == "v000001"
    np.testing.assert_allclose(reply.body["outputs"]["q_values"], expected, rtol=1e-4)
    assert reply.body["actions"] == [int(expected.argmax())]


def test_several_states_are_answered_row_by_row(server: ServerProcess) -> None:
    states = np.random.default_rng(3).standard_normal((16, 64)).astype(np.float32)
    reply = server.post(INFER, {"states": states.tolist()})
    np.testing.assert_allclose(reply.body["outputs"]["q_values"], models.mlp_values(1, states), rtol=1e-3, atol=1e-5)
    assert len(reply.body["actions"]) == 16


def test_a_model_of_several_inputs_takes_them_by_name(server: ServerProcess) -> None:
    body = {"inputs": {"grid": [[[1, 2, 3], [4, 5, 6]]], "state": [[1, 1, 1]]}}
    reply = server.post("/infer/mage/spatial_vit", body)
    assert reply.body == {
        "version": "v000002",
        "outputs": {"sum": [[6, 8, 10]], "negative": [[-6, -8, -10]]},
        "actions": None,
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize(
    "options", [[], ["-H", "Content-Type:"], ["-H", "Content-Type: image/png"], ["-H", "Expect: 100-continue"]]
)
def test_curl_d_works_whatever_type_it_says(server: ServerProcess, options: list[str]) -> None:
    command = ["curl", "-s", f"localhost:{server.port}{INFER}", "-d", json.dumps({"state": STATE}), *options]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["version"] == "v000001"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (INFER, json.dumps({"state": STATE[1:]}), 400, "wrong_shape"),
        (INFER, '{"state":[NaN' + ",0" * 63 + "]}", 400, "not_finite"),
        (INFER, json.dumps({"state": ["text", *STATE[1:]]}), 400, "not_a_number"),
        (INFER, '{"state":', 400, "broken_json"),
        (INFER, "", 400, "empty_body"),
        (INFER, json.dumps({"states": [STATE] * 17}), 400, "too_many_rows"),
        (INFER, " " * 65 * 1024, 413, "body_too_large"),
        (INFER, " " * 3 * 2**20, 413, "body_too_large"),
        ("/infer/unknown/combat_dqn", json.dumps({"state": STATE}), 404, "unknown_model"),
        ("/infer/aggressive", json.dumps({"state": STATE}), 404, "not_found"),
        ("/infer/a/b/c", "{}", 404, "not_found"),
        ("/infer/..%2f..%2fetc/passwd", "{}", 404, "not_found"),
        ("/infer/%ff/%00", "{}", 404, "unknown_model"),
        ("/reload/unknown/combat_dqn", "", 404, "not_active"),
        ("/reload/unknown/combat_dqn", '{"version":"v000001"}', 404, "unknown_version"),
        (f"/reload/{TARGET}", '{"version":"../../evil"}', 404, "unknown_version"),
        (f"/reload/{TARGET}", '{"path":"/tmp/evil.onnx"}', 400, "unknown_field"),
        ("/nothing", "", 404, "not_found"),
        ("/health", "", 405, "method_not_allowed"),
        ("/health/", "", 404, "not_found"),
    ],
)
def test_a_wrong_request_gets_a_json_error(server: ServerProcess, path: str, body: str, status: int, code: str) -> None:
    reply = server.request("POST", path, body.encode())
    assert (reply.status, reply.code) == (status, code)
    assert set(reply.body) == {"error"}
    assert set(reply.body["error"]) == {"code", "message"}
    assert "Traceback" not in reply.body["error"]["message"]
    assert reply.headers["content-type"] == "application/json"


def test_an_endless_chunked_body_is_refused(server: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", INFER, body=(b" " * 8192 for _ in range(20)), encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "body_too_large"
    connection.close()


def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def deflated(data: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(("packing", "window"), [("gzip", 31), ("deflate", 15), ("deflate", -15), ("identity", 0)])
def test_a_compressed_body_is_unpacked(server: ServerProcess, packing: str, window: int) -> None:
    body = json.dumps({"state": STATE}).encode()
    packed = deflated(body, window) if window else body
    assert server.request("POST", INFER, packed, **{"Content-Encoding": packing}).body["version"] == "v000001"


@pytest.mark.parametrize(
    ("packing", "body", "status", "code"),
    [
        ("br", b"{}", 415, "unsupported_encoding"),
        ("gzip", b"\x1f\x8b", 400, "broken_encoding"),
        ("gzip", deflated(b"{}", 31)[:-1], 400, "broken_encoding"),
        ("gzip", deflated(b"{}", 31) + b"more", 400, "broken_encoding"),
        ("gzip", deflated(b" " * 50 * 2**20, 31), 413, "body_too_large"),  # 50 kB that would become 50 MB
    ],
)
def test_what_cannot_be_unpacked_or_becomes_too_large_is_refused(
    server: ServerProcess, packing: str, body: bytes, status: int, code: str
) -> None:
    reply = server.request("POST", INFER, body, **{"Content-Encoding": packing})
    assert (reply.status, reply.code) == (status, code)


def test_what_is_not_http_gets_a_json_error(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"HELO there\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "not_http"


def test_bytes_beyond_ascii_in_the_path_get_a_json_error(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"POST /infer/\xff\xfe/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"400", b"404")
    assert "code" in json.loads(body)["error"]


def test_a_web_page_may_not_reload(server: ServerProcess) -> None:
    assert server.request("POST", f"/reload/{TARGET}", Origin="http://example.org").status == 403


def begin_upload(port: int, path: str, sent: bytes = b"") -> socket.socket:
    """A request whose body the server waits for."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=30)
    raw.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode()
    )
    assert raw.recv(4096).startswith(b"HTTP/1.1 100 ")
    raw.sendall(sent)
    return raw


def test_uploads_that_stall_take_up_no_room(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stalled:
        for _ in range(8):  # twice the bound
            stalled.enter_context(begin_upload(server.port, INFER, b"{"))
        assert server.post(INFER, {"state": STATE}).status == 200


@pytest.mark.parametrize("sent", [b"", b'{"stat'])
@pytest.mark.parametrize("path", [INFER, f"/reload/{TARGET}"])
def test_a_body_that_does_not_come_in_time_is_given_up(hurried: ServerProcess, path: str, sent: bytes) -> None:
    with begin_upload(hurried.port, path, sent) as raw:
        answer = b"".join(iter(lambda: raw.recv(4096), b""))  # until the server closes the connection
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"] == {
        "code": "body_timeout",
        "message": "the body was not here whole within 0.1 s; send it again",
    }
    assert hurried.post(INFER, {"state": STATE}).status == 200


def test_a_client_that_leaves_half_way_disturbs_nobody(server: ServerProcess) -> None:
    for _ in range(8):  # twice the bound: each of them gives its place back
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
            raw.sendall(
                f"POST {INFER} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode()
            )
            assert raw.recv(4096).startswith(b"HTTP/1.1 100 ")
            raw.sendall(b"{")
        # This request comes after the end of that connection, so the server has seen it leave by its answer.
        assert server.get("/health").status == 200
    assert server.post(INFER, {"state": STATE}).status == 200


def test_health_names_the_run_folder(server: ServerProcess, folder: ServedFolder) -> None:
    body = server.get("/health").body
    assert body == {
        "status": "ok",
        "run_id": RUN_ID,
        "folder_id": folder.folder_id,
        "pid": server.process.pid,
        "models": 2,
    }


def test_models_lists_what_is_live(server: ServerProcess, folder: ServedFolder) -> None:
    body = server.get("/models").body
    first, second = body["models"]
    assert (first["archetype"], first["model_type"], first["version"]) == ("aggressive", "combat_dqn", "v000001")
    assert first["sha256"] == folder.active[TARGET].model_sha256
    assert (first["inputs"], first["outputs"]) == ({"state": [0, 64]}, {"q_values": [0, 10]})
    assert second["inputs"] == {"grid": [0, 2, 3], "state": [0, 3]}
    before = first["requests"]
    server.post(INFER, {"state": STATE})
    assert server.get("/models").body["models"][0]["requests"] == before + 1
    assert body["refused"] == []


def test_the_probe_finds_a_server_of_ours_and_nothing_else(server: ServerProcess, folder: ServedFolder) -> None:
    assert probe_server("127.0.0.1", server.port) == Health("ok", RUN_ID, folder.folder_id, server.process.pid, 2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert probe_server("127.0.0.1", unused.getsockname()[1]) is None


def refusal_to_start(run_dir: Path, options: ServerOptions) -> IncumbentError:
    """The error of a server that cannot start; what it said on the console fails the test."""
    with pytest.raises(IncumbentError) as caught:
        run_server(run_dir, options, announce=lambda line: pytest.fail(line))
    return caught.value


def test_a_taken_port_is_said_clearly(server: ServerProcess, folder: ServedFolder) -> None:
    error = refusal_to_start(folder.path, ServerOptions(port=server.port))
    assert isinstance(error, PortTakenError)
    assert error.exit_code == 75
    assert (
        str(error)
        == f"port {server.port} on 127.0.0.1 is taken by another program; stop it, or set another serving.port"
    )
    assert server.get("/ready").status == 200


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (ServerOptions(host="no.such.host.invalid", port=0), 2, "cannot be resolved"),
        (ServerOptions(host="192.0.2.1", port=0), 2, "cannot listen"),
        (ServerOptions(host="0.0.0.0", port=0), 3, "token"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_clearly(
    folder: ServedFolder, options: ServerOptions, code: int, words: str
) -> None:
    error = refusal_to_start(folder.path, options)
    assert error.exit_code == code
    assert words in str(error)


def test_a_start_that_fails_is_tried_again_whatever_uvicorns_exit_code(folder: ServedFolder) -> None:
    program = (
        "import sys; from supervisor.serving.engine import Engine\n"
        "async def fail(self): raise RuntimeError('no thread could be started')\n"
        "Engine.load_active = fail\n"
        "from supervisor.cli import run_cli; sys.exit(run_cli(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--run-dir", str(folder.path), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 75  # uvicorn's own would be 3, an invalid configuration, which is never tried again
    assert "no thread could be started" in done.stderr
    assert done.stderr.endswith("the server could not start; what is printed above says why\n")


def test_beyond_loopback_reloading_needs_the_token_and_inference_does_not(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, ServerOptions(host="0.0.0.0", port=0, token="s3cret")) as server:
        assert server.post(f"/reload/{TARGET}").code == "unauthorized"
        assert server.post(f"/reload/{TARGET}", Authorization="Bearer guess").status == 401
        assert server.post(f"/reload/{TARGET}", Authorization="Bearer s3cret").status == 200
        assert server.post(INFER, {"state": STATE}).status == 200
        assert not any("s3cret" in line for line in server.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_answers_what_is_in_flight_and_leaves_with_0(folder: ServedFolder, number: int) -> None:
    body = json.dumps({"state": STATE}).encode()
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with ServerProcess(folder.path) as server, socket.create_connection(("127.0.0.1", server.port), 30) as raw:
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 100 ")
        os.kill(server.process.pid, number)
        wait_until_refused(server.port)
        raw.sendall(body)
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"v000001" in answer
        assert server.process.wait(30) == 0
        server.wait_for_line("server stopped")
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def wait_until_refused(port: int) -> None:
    """Until the server takes no new connection."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionResetError:
            continue  # it was still in the queue of the listening socket when that closed
        except ConnectionRefusedError:
            return


def test_the_console_says_what_is_served_and_nothing_per_request(server: ServerProcess, folder: ServedFolder) -> None:
    assert server.lines[:3] == [
        f"{TARGET}: serving v000001",
        "mage/spatial_vit: serving v000002",
        f"serving 2 models of {folder.path} on http://127.0.0.1:{server.port}",
    ]
    assert not any("GET" in line or "POST" in line for line in server.lines)
