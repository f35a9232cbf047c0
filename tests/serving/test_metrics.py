"""What Prometheus reads."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.processes import wait_for
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

OIP = "aggressive.combat_dqn"
STATE = {"state": [0.5] * 64}


@pytest.fixture
def folder(tmp_path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path) as server:
        yield server


def measured(server: ServerProcess) -> dict[tuple[str, ...], float]:
    """By name and label values."""
    with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
        assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items(), key=lambda item: item[0] == "le"))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_rows_batches_and_their_time_are_counted_by_model_and_version(server: ServerProcess) -> None:
    server.post(f"/infer/{TARGET}", STATE)
    server.post(f"/infer/{TARGET}", {"states": [STATE["state"]] * 3})
    server.post(f"/infer/{TARGET}", {"states": []})  # never let in
    found = measured(server)
    assert found["nv_inference_request_success", OIP, "v000001"] == 2
    assert found["nv_inference_request_failure", OIP, "v000001"] == 0
    assert found["nv_inference_count", OIP, "v000001"] == 4
    assert found["nv_inference_exec_count", OIP, "v000001"] == 2
    whole, inside = (found[f"nv_inference_{part}_duration_us", OIP, "v000001"] for part in ("request", "compute_infer"))
    assert whole >= inside > 0
    assert found["incumbent_request_seconds_bucket", TARGET, "v000001", "+Inf"] == 2
    assert found["incumbent_request_seconds_sum", TARGET, "v000001"] == pytest.approx(whole / 1e6)
    assert found["incumbent_model_info", TARGET, "v000001"] == 1
    assert found["incumbent_connections",] >= 1


def test_a_swap_and_a_refusal_show(server: ServerProcess, folder: ServedFolder) -> None:
    folder.promote(models.mlp(2))
    server.post(f"/reload/{TARGET}")
    found = measured(server)
    assert found["incumbent_swaps_total", TARGET] == 1
    assert found["incumbent_model_info", TARGET, "v000002"] == 1
    assert ("incumbent_model_info", TARGET, "v000001") not in found
    folder.promote(models.nan_weights())
    server.post(f"/reload/{TARGET}")
    assert measured(server)["incumbent_reload_refused", TARGET] == 1


def test_what_clients_invent_makes_no_rows(server: ServerProcess) -> None:
    before = measured(server).keys()
    for number in range(20):
        server.post(f"/infer/invented/{number}", STATE)
        server.get(f"/v2/models/invented.{number}/ready")
    assert measured(server).keys() == before


def test_watch_outcomes_and_shadow_are_there(server: ServerProcess, folder: ServedFolder) -> None:
    folder.promote(models.mlp(2))
    server.post(f"/reload/{TARGET}")
    folder.commit(models.mlp(3))
    server.post(f"/shadow/{TARGET}", {"version": "v000003", "share": 1})
    server.post(f"/infer/{TARGET}", STATE)
    games = [{"version": f"v00000{number}", "score": number - 1} for number in (1, 2)] * 10
    server.post(f"/outcome/{TARGET}", {"outcomes": games})
    wait_for("that", lambda: measured(server)["incumbent_shadow_requests_total", TARGET, "v000003"] == 1)
    found, new = measured(server), (TARGET, "v000002")
    assert found["incumbent_outcomes_total", *new] == 10
    assert found["incumbent_outcome_score_mean", *new] == 1.0
    assert (found["incumbent_watched", *new], found["incumbent_watch_pairs", *new]) == (1, 10)
    assert found["incumbent_watch_loss", *new] == -1.0
    assert 0 < found["incumbent_watch_evidence", *new] < 1
    assert found["incumbent_watch_faults", *new] == 0
    assert 0 <= found["incumbent_shadow_agreement", TARGET, "v000003"] <= 1
    assert found["incumbent_shadow_failures_total", TARGET, "v000003"] == 0


def test_what_finds_no_room_is_counted(folder: ServedFolder) -> None:
    body = json.dumps(STATE).encode()
    head = f"POST /infer/{TARGET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with ServerProcess(folder.path, ServerOptions(port=0, max_in_flight=4, max_connections=2)) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=30) as full, socket.create_connection(address, timeout=30):
            full.sendall((head + body) * 7)  # in one packet: all are read before the first is run
            said = b""
            while said.count(b"HTTP/1.1 ") < 7:
                said += full.recv(65536)
            assert (said.count(b"HTTP/1.1 200"), said.count(b"HTTP/1.1 503")) == (4, 3)
            with socket.create_connection(address, timeout=30) as further:
                assert further.recv(65536).startswith(b"HTTP/1.1 503")
        wait_for("they are gone", lambda: server.get("/health").status == 200)
        found = measured(server)
    assert found["incumbent_refused_total", "request"] == 3
    assert found["incumbent_refused_total", "connection"] >= 1
