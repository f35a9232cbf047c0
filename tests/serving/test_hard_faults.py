"""What a new version cannot answer, the one before it answers; a version that does it again and again is out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from supervisor.registry import server_rollbacks
from supervisor.registry.server_rollbacks import Cause
from supervisor.serving.options import WatchOptions
from tests.support import onnx_models as models
from tests.support.players import INFER, STATE, answering, listed, monitoring
from tests.support.processes import wait_for
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

OLD, NEW = "v000001", "v000002"
BREAKING = {"state": [-50.0] + [0.5] * 63}  # `models.fragile` answers NaN


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    return ServedFolder(tmp_path / "run")


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    """A version has just gone live that answers NaN where the one before it is sound."""
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path) as server:
        folder.promote(models.fragile(2))
        assert server.post(f"/reload/{TARGET}").body["version"] == NEW
        yield server


def test_the_version_before_stands_in_and_after_three_faults_it_serves_alone(
    server: ServerProcess, folder: ServedFolder
) -> None:
    for _ in range(2):
        reply = server.post(INFER, BREAKING)
        assert (reply.status, reply.body["version"]) == (200, OLD)
    watched = monitoring(server)
    assert (watched["state"], watched["faults"]) == ("watching", 2)
    assert "not finite" in watched["last_fault"]
    assert answering(server) == NEW
    assert server.post(INFER, BREAKING).status == 200
    server.wait_for_line(f"{TARGET}: {NEW} rolled back (hard_fault), serving {OLD}")
    (entry,) = server_rollbacks.read(folder.path).entries
    assert (entry.version, entry.cause) == (NEW, Cause.HARD_FAULT)
    assert "not finite" in entry.detail
    assert monitoring(server)["state"] == "faulty"


def test_in_a_batch_the_others_are_answered_by_the_new_version(server: ServerProcess) -> None:
    reply = server.post(INFER, {"states": [STATE["state"], BREAKING["state"]]})
    assert (reply.status, reply.body["version"]) == (200, OLD)  # one request is answered by one version
    assert answering(server) == NEW


def test_faults_survive_a_kill(server: ServerProcess, folder: ServedFolder) -> None:
    for _ in range(2):
        server.post(INFER, BREAKING)
    path = folder.path / "serving" / "windows" / "aggressive.combat_dqn.jsonl"
    wait_for("that", lambda: path.exists() and path.read_text().count("not finite") == 2)
    server.process.kill()
    with ServerProcess(folder.path) as again:
        assert monitoring(again)["faults"] == 2
        again.post(INFER, BREAKING)
        again.wait_for_line(f"{NEW} rolled back (hard_fault)")


def test_a_request_that_both_versions_fail_has_itself_to_blame(folder: ServedFolder) -> None:
    folder.promote(models.fragile(1))
    with ServerProcess(folder.path) as server:
        folder.promote(models.fragile(2))
        server.post(f"/reload/{TARGET}")
        for _ in range(5):
            reply = server.post(INFER, BREAKING)
            assert (reply.status, reply.code) == (422, "output_not_finite")
        assert monitoring(server)["faults"] == 0


def test_numbers_that_no_sound_network_bears_take_nothing_out(server: ServerProcess) -> None:
    for _ in range(5):
        reply = server.post(INFER, {"state": [-200.0] + [0.5] * 63})
        assert (reply.status, reply.body["version"]) == (200, OLD)
    assert monitoring(server)["faults"] == 0
    assert answering(server) == NEW


@pytest.mark.parametrize(("was", "now"), [(np.float16, np.float32), (np.float32, np.float16)])
def test_where_the_precision_changes_the_version_before_stands_in_too(
    folder: ServedFolder, was: type, now: type
) -> None:
    folder.promote(models.mlp(1, kind=was))
    with ServerProcess(folder.path) as server:
        folder.promote(models.fragile(2, kind=now))
        server.post(f"/reload/{TARGET}")
        for _ in range(3):
            reply = server.post(INFER, BREAKING)
            assert (reply.status, reply.body["version"]) == (200, OLD)
        server.wait_for_line(f"{NEW} rolled back (hard_fault)")


def test_once_it_is_not_watched_any_more_it_answers_for_itself(folder: ServedFolder) -> None:
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path, watched=WatchOptions(window_s=0.2)) as server:
        folder.promote(models.fragile(2))
        server.post(f"/reload/{TARGET}")
        wait_for("that", lambda: monitoring(server)["state"] == "undecided")
        assert server.post(INFER, BREAKING).status == 422


@pytest.mark.parametrize("hidden", [32, 4096])
def test_a_version_is_out_that_is_slow_by_itself_and_beside_the_one_before(folder: ServedFolder, hidden: int) -> None:
    """The limit is one that no model meets: what is no slower than the version before stays all the same."""
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path, watched=WatchOptions(max_latency_ms=1e-6)) as server:
        folder.promote(models.mlp(2, hidden=hidden))
        server.post(f"/reload/{TARGET}")
        for _ in range(250):
            server.post(INFER, {"states": [STATE["state"]] * 64})
        if hidden == 32:
            wait_for("that", lambda: monitoring(server)["timed"] == 1)
            assert answering(server) == NEW
            assert listed(server)["monitoring"]["faults"] == 0
        else:
            server.wait_for_line(f"{NEW} rolled back (hard_fault)")
            (entry,) = server_rollbacks.read(folder.path).entries
            assert "P95" in entry.detail
