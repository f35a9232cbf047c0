"""Rolling back on the server: written down first, at once where the version before is warm, and for good."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.registry import server_rollbacks
from supervisor.registry.server_rollbacks import Cause, RollbackFile, ServerRollback
from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import Reply, ServerProcess

STATE = {"state": [0.5] * 64}
ROLLBACK, RELOAD, INFER = f"/rollback/{TARGET}", f"/reload/{TARGET}", f"/infer/{TARGET}"


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    """Three versions, the last one active."""
    folder = ServedFolder(tmp_path / "run")
    for seed in (1, 2, 3):
        folder.promote(models.mlp(seed))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path) as server:
        yield server


def answering(server: ServerProcess) -> str:
    return str(server.post(INFER, STATE).body["version"])


def entries(folder: ServedFolder) -> list[tuple[str, str | None, Cause, str]]:
    found = server_rollbacks.read(folder.path)
    assert not found.problems
    return [(entry.version, entry.back_to, entry.cause, entry.detail) for entry in found.entries]


def test_the_version_before_serves_and_the_file_says_why(server: ServerProcess, folder: ServedFolder) -> None:
    reply = server.post(ROLLBACK, {"reason": "it runs into walls"})
    assert (reply.status, reply.body["version"], reply.body["before"]) == (200, "v000002", "v000003")
    assert answering(server) == "v000002"
    assert entries(folder) == [("v000003", "v000002", Cause.MANUAL, "it runs into walls")]
    server.wait_for_line(f"{TARGET}: v000003 rolled back (manual), serving v000002")


def test_again_and_again_it_goes_further_back_until_nothing_is_left(
    server: ServerProcess, folder: ServedFolder
) -> None:
    assert [server.post(ROLLBACK).body["version"] for _ in range(2)] == ["v000002", "v000001"]
    last = server.post(ROLLBACK)
    assert (last.status, last.code) == (409, "no_way_back")
    assert answering(server) == "v000001"
    assert len(entries(folder)) == 2


def test_named_it_is_done_once_however_often_it_is_asked_for(server: ServerProcess, folder: ServedFolder) -> None:
    order = {"version": "v000003"}
    replies: list[Reply] = []
    asking = [threading.Thread(target=lambda: replies.append(server.post(ROLLBACK, order))) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert {(reply.status, reply.body["version"]) for reply in replies} == {(200, "v000002")}
    assert sorted(reply.body["changed"] for reply in replies) == [False] * 7 + [True]
    assert len(entries(folder)) == 1


def test_a_version_that_is_not_live_is_not_rolled_back(server: ServerProcess, folder: ServedFolder) -> None:
    reply = server.post(ROLLBACK, {"version": "v000001"})
    assert (reply.status, reply.code) == (409, "not_live")
    assert server.post("/rollback/no/model").code == "unknown_model"
    assert server.post(ROLLBACK, {"path": "/etc"}).code == "unknown_field"
    assert entries(folder) == []


def test_what_was_rolled_back_never_comes_back(server: ServerProcess, folder: ServedFolder) -> None:
    server.post(ROLLBACK)
    assert server.post(RELOAD).body["version"] == "v000002"  # active.json still names v000003
    named = server.post(RELOAD, {"version": "v000003"})
    assert (named.status, named.code) == (409, "rolled_back")
    assert answering(server) == "v000002"
    with ServerProcess(folder.path) as again:
        assert answering(again) == "v000002"
    newer = folder.promote(models.mlp(4))
    assert server.post(RELOAD).body["version"] == newer.name


def test_a_swap_is_taken_back_by_the_session_that_is_still_warm(server: ServerProcess, folder: ServedFolder) -> None:
    folder.promote(models.mlp(4))
    server.post(RELOAD)
    for path in (folder.path / "models").glob("*.onnx"):
        path.unlink()  # nothing could be loaded now
    assert server.post(ROLLBACK).body["version"] == "v000003"
    assert answering(server) == "v000003"


def test_a_version_that_was_taken_out_is_no_way_back_though_its_session_is_warm(
    server: ServerProcess, folder: ServedFolder
) -> None:
    """As when the supervisor rolled back: v000002 goes live again, and v000003 is what was live before it."""
    assert server.post(INFER, STATE).body["version"] == "v000003"
    gone = folder.active[TARGET]
    RollbackFile(folder.path).append(
        ServerRollback("x", TARGET, gone.name, gone.model_sha256, "v000002", Cause.MANUAL, "", "now")
    )
    assert server.post(RELOAD).body["version"] == "v000002"
    assert server.post(ROLLBACK).body["version"] == "v000001"


def test_asked_for_again_after_a_restart_it_is_done_already(server: ServerProcess, folder: ServedFolder) -> None:
    order = {"version": "v000003"}
    assert server.post(ROLLBACK, order).body["changed"]
    with ServerProcess(folder.path) as again:
        reply = again.post(ROLLBACK, order)
        assert (reply.status, reply.body["version"], reply.body["changed"]) == (200, "v000002", False)


def test_what_cannot_be_written_down_is_not_done(server: ServerProcess, folder: ServedFolder) -> None:
    shutil.rmtree(folder.path / "serving")
    (folder.path / "serving").write_text("a file where the folder should be")
    reply = server.post(ROLLBACK)
    assert (reply.status, reply.code) == (503, "not_written")
    assert answering(server) == "v000003"


def test_beyond_loopback_it_needs_the_token(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, ServerOptions(host="0.0.0.0", port=0, token="s3cret")) as server:
        assert server.post(ROLLBACK).status == 401
        assert server.request("POST", ROLLBACK, Origin="http://example.org").status == 403
        assert answering(server) == "v000003"
        assert server.post(ROLLBACK, json.loads("{}"), Authorization="Bearer s3cret").status == 200
