"""Showing requests to a version that is not live: what is seen of it, and that nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from supervisor.serving.shadow import Compared, compare
from tests.support import onnx_models as models
from tests.support.players import INFER, STATE, answering, listed
from tests.support.processes import wait_for
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

SHADOW, RELOAD = f"/shadow/{TARGET}", f"/reload/{TARGET}"
LIVE, CANDIDATE = "v000001", "v000002"


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    """One version live, and two that the log knows."""
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    folder.commit(models.mlp(2))
    folder.commit(models.fragile(1))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    folder.activate(TARGET, folder.active[TARGET])
    with ServerProcess(folder.path) as server:
        if answering(server) != LIVE:
            server.post(RELOAD, {"version": LIVE})
        yield server


def state(number: int) -> list[float]:
    return [float(number % 7)] * 32 + [0.5] * 32


def ask(server: ServerProcess, times: int) -> None:
    for number in range(times):
        assert server.post(INFER, {"state": state(number)}).body["version"] == LIVE


def test_the_share_asked_for_is_shown_and_compared(server: ServerProcess) -> None:
    assert server.post(SHADOW, {"version": CANDIDATE, "share": 0.25}).body["requests"] == 0
    ask(server, 40)
    wait_for("that", lambda: listed(server)["shadow"]["requests"] == 10)
    seen = listed(server)["shadow"]
    assert (seen["version"], seen["share"], seen["rows"], seen["failed"]) == (CANDIDATE, 0.25, 10, 0)
    shown = np.array([state(number) for number in range(3, 40, 4)], np.float32)  # every fourth
    chosen = [models.mlp_values(seed, shown).argmax(axis=1) for seed in (1, 2)]
    assert seen["agreement"] == np.mean(chosen[0] == chosen[1])
    assert seen["largest_difference"] > seen["mean_difference"] > 0.0
    assert 0.0 < seen["p50_ms"] <= seen["p95_ms"]
    assert seen["live_p50_ms"] > 0.0
    ended = server.request("DELETE", SHADOW)
    assert ended.body["shadow"]["requests"] == 10
    assert listed(server)["shadow"] is None
    assert server.request("DELETE", SHADOW).body == {"shadow": None}


def test_a_candidate_that_fails_is_seen_to_and_answers_nobody(server: ServerProcess) -> None:
    server.post(SHADOW, {"version": "v000003", "share": 1})
    for _ in range(5):
        reply = server.post(INFER, {"state": [-50.0] + [0.5] * 63})
        assert (reply.status, reply.body["version"]) == (200, LIVE)
    wait_for("that", lambda: listed(server)["shadow"]["failed"] == 5)
    assert "not finite" in listed(server)["shadow"]["last_failure"]


def test_it_goes_on_beside_the_next_live_version_and_ends_when_it_goes_live_itself(
    server: ServerProcess, folder: ServedFolder
) -> None:
    server.post(SHADOW, {"version": CANDIDATE, "share": 1})
    fourth = folder.promote(models.mlp(4))
    server.post(RELOAD)
    assert listed(server)["version"] == fourth.name
    assert listed(server)["shadow"]["version"] == CANDIDATE
    server.post(f"/rollback/{TARGET}")
    assert listed(server)["shadow"]["version"] == CANDIDATE
    server.post(RELOAD, {"version": CANDIDATE})
    assert (listed(server)["version"], listed(server)["shadow"]) == (CANDIDATE, None)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"version": LIVE}, "is_live"),
        ({"version": "v000099"}, "unknown_version"),
        ({"version": CANDIDATE, "share": 0}, "bad_order"),
        ({"version": CANDIDATE, "share": True}, "bad_order"),
        ({"share": 0.5}, "bad_order"),
        ({"version": CANDIDATE, "path": "/etc"}, "bad_order"),
    ],
)
def test_what_cannot_be_shown_is_refused(server: ServerProcess, order: dict[str, object], code: str) -> None:
    assert server.post(SHADOW, order).code == code
    assert listed(server)["shadow"] is None


def test_equal_answers_agree_wholly_and_others_by_their_choices() -> None:
    seen = Compared()
    values = np.array([[1.0, 2.0], [3.0, 1.0]], np.float32)
    compare(seen, lambda: {"q_values": values}, lambda: {"q_values": values})
    assert (seen.acted, seen.alike, seen.largest) == (2, 2, 0.0)
    compare(seen, lambda: {"q_values": values}, lambda: {"q_values": values[::-1]})
    assert (seen.acted, seen.alike, seen.largest) == (4, 2, 2.0)


def test_the_requests_that_it_cannot_keep_up_with_are_counted(server: ServerProcess) -> None:
    assert server.post(SHADOW, {"version": CANDIDATE, "share": 1}).status == 200
    for _ in range(20):
        server.post(INFER, {"states": [STATE["state"]] * 200})
    wait_for("that", lambda: sum(listed(server)["shadow"][name] for name in ("requests", "left_out")) == 20)
