"""Reloading under load: no failed, wrong or stale answer; and a restart serves what the log says."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from supervisor.registry.active import ActiveFile
from supervisor.registry.store import ModelStore
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.engine import Engine, Swap
from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions, WatchOptions
from supervisor.serving.watch import Watch
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

INFER = f"/infer/{TARGET}"
RELOAD = f"/reload/{TARGET}"
STATES = np.random.default_rng(11).standard_normal((12, 64)).astype(np.float32)


@dataclass
class Client(threading.Thread):
    """Asks without pause on one kept-alive connection and judges every answer."""

    port: int
    rows: int
    expected: dict[str, np.ndarray]  # what each version answers to STATES
    live_since: dict[str, int]  # version -> its number in the order of reloads, once acknowledged
    stop: threading.Event
    answers: int = 0
    versions: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps({"states": STATES[: self.rows].tolist()})
        try:
            while not self.stop.is_set():
                oldest_allowed = max(self.live_since.values())
                connection.request("POST", INFER, body)
                response = connection.getresponse()
                self._judge(response.status, json.loads(response.read()), oldest_allowed)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.faults.append(repr(error))
        finally:
            connection.close()

    def _judge(self, status: int, answer: dict[str, object], oldest_allowed: int) -> None:
        self.answers += 1
        if status != 200:
            self.faults.append(f"failed: {answer}")
            return
        version = str(answer["version"])
        self.versions.add(version)
        values = np.array(answer["outputs"]["q_values"])  # type: ignore[index]
        if not np.allclose(values, self.expected[version][: self.rows], atol=1e-4):
            self.faults.append(f"wrong: {version}")
        if int(version[1:]) < oldest_allowed:
            self.faults.append(f"stale: {version} after {oldest_allowed} was acknowledged")


def test_reloads_under_load_fail_no_request_and_answer_nothing_wrong_or_stale(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    reloads = 12
    expected = {f"v{number:06d}": models.mlp_values(number, STATES) for number in range(1, reloads + 2)}
    folder.promote(models.mlp(1))
    stop = threading.Event()
    live_since = {"v000001": 1}
    with ServerProcess(folder.path) as server:
        # One row runs on the event loop, twelve rows in a thread.
        clients = [Client(server.port, rows, expected, live_since, stop) for rows in (1, 1, 1, 12, 12)]
        for client in clients:
            client.start()
        for number in range(2, reloads + 2):
            version = folder.promote(models.mlp(number))
            assert server.get("/ready").status == 200
            reply = server.post(RELOAD)
            assert (reply.status, reply.body["version"]) == (200, version.name)
            live_since[version.name] = number
            wait_for_answers(clients, 5)
        stop.set()
        for client in clients:
            client.join(30)
    assert [fault for client in clients for fault in client.faults] == []
    assert all(client.answers >= 5 * reloads for client in clients)
    assert set().union(*(client.versions for client in clients)) == set(expected)


def wait_for_answers(clients: list[Client], more: int) -> None:
    """Until every client has had some more answers, or has met a fault."""
    goals = [client.answers + more for client in clients]
    while any(
        client.answers < goal and not client.faults and client.is_alive()
        for client, goal in zip(clients, goals, strict=True)
    ):
        os.sched_yield()


HOSTILE = {
    "unknown operator": (models.unknown_operator(), "unknown_operator"),
    "external weights": (models.external_weights("../active.json"), "external_data"),
    "endless loop": (models.endless_loop(), "unknown_operator"),
    "two gigabytes": (models.two_gigabytes(), "too_large"),
    "NaN weights": (models.nan_weights(), "not_finite"),
    "NaN answers": (models.nan_answers(), "not_finite"),
    "truncated": (models.mlp(9)[:3000], "not_onnx"),
    "other inputs": (models.wide(states=63), "interface"),
    "other outputs": (models.wide(actions=9), "interface"),
    "huge file": (models.mlp(9, hidden=20_000), "too_large"),
    "minutes of work": (models.slow(900), "too_slow"),
    "empty": (b"", "not_onnx"),
}


def test_hostile_files_are_refused_and_the_old_version_keeps_serving(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    good = folder.promote(models.mlp(1))
    stop = threading.Event()
    options = ServerOptions(port=0, max_model_mb=5, load_timeout_s=0.5)
    with ServerProcess(folder.path, options) as server:
        client = Client(server.port, 1, {good.name: models.mlp_values(1, STATES)}, {good.name: 1}, stop)
        client.start()
        for name, (data, code) in HOSTILE.items():
            version = folder.promote(data)
            reply = server.post(RELOAD)
            assert (reply.status, reply.code) == (422, code), name
            server.wait_for_line(
                TARGET, f"{version.name} refused, {good.name} keeps serving", reply.body["error"]["message"]
            )
            body = server.get("/models").body
            assert [model["version"] for model in body["models"]] == [good.name]
            assert [(entry["version"], entry["code"]) for entry in body["refused"]] == [(version.name, code)]
            assert server.get("/ready").status == 200
        last = folder.promote(models.mlp(2))
        client.expected[last.name] = models.mlp_values(2, STATES)
        assert server.post(RELOAD).body["version"] == last.name
        assert server.get("/models").body["refused"] == []
        stop.set()
        client.join(30)
    assert client.faults == []
    assert client.answers > len(HOSTILE)


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def exchange(path: Path) -> None:
    """Another honest model of the same shapes, with a link to it in place of the file."""
    other = path.with_name("other.onnx")
    other.write_bytes(models.mlp(77))
    path.unlink()
    path.symlink_to(other)


TAMPERINGS = ((flip_bit, "damaged"), (cut_short, "damaged"), (exchange, "missing_file"), (Path.unlink, "missing_file"))


def test_bytes_that_are_not_the_committed_ones_are_never_served(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    good = folder.promote(models.mlp(1))
    with ServerProcess(folder.path) as server:
        for number, (tamper, code) in enumerate(TAMPERINGS, start=2):
            tamper(folder.model_path(folder.promote(models.mlp(number))))
            assert server.post(RELOAD).code == code
            assert server.post(INFER, {"state": STATES[0].tolist()}).body["version"] == good.name


def test_a_file_that_cannot_be_read_just_now_is_asked_for_again_and_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    opened = os.open

    def fail(path: str | Path, *options: int) -> int:
        if str(path).endswith(".onnx"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return opened(path, *options)

    async def reload_twice() -> tuple[ApiError, Swap]:
        watch = Watch(folder.path, WatchOptions(), lambda _: None, lambda: "now")
        engine = Engine(Catalogue(folder.path), ServerOptions(), watch, lambda _: None, lambda: "now")
        with monkeypatch.context() as failing:
            failing.setattr(os, "open", fail)
            with pytest.raises(ApiError) as caught:
                await engine.reload(TARGET, None)
        return caught.value, await engine.reload(TARGET, None)

    error, swap = asyncio.run(reload_twice())
    assert (error.status, error.code) == (503, "unreadable")  # what the supervisor's delivery repeats
    assert swap.live.version.name == "v000001"


def test_a_version_that_the_log_does_not_know_is_not_served(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    good = folder.promote(models.mlp(1))
    stranger = ServedFolder(tmp_path / "elsewhere")
    stranger.promote(models.mlp(8))
    foreign = stranger.promote(models.mlp(9))
    ModelStore(folder.path).put(stranger.model_path(foreign), foreign.model_sha256)
    ActiveFile.of({TARGET: foreign}).write(folder.path)
    with ServerProcess(folder.path) as server:
        assert server.get("/ready").code == "not_ready"
        assert server.post(INFER, {"state": STATES[0].tolist()}).code == "not_loaded"
        assert (server.post(RELOAD).status, server.post(RELOAD).code) == (409, "unknown_version")
        folder.activate(TARGET, good)
        assert server.post(RELOAD).body["version"] == good.name
        second = ServedFolder(tmp_path / "third")
        impostor = second.promote(models.mlp(9))  # the name of a known version with the bytes of another
        ModelStore(folder.path).put(second.model_path(impostor), impostor.model_sha256)
        ActiveFile.of({TARGET: impostor}).write(folder.path)
        assert (server.post(RELOAD).status, server.post(RELOAD).code) == (409, "wrong_hash")
        assert server.post(INFER, {"state": STATES[0].tolist()}).body["version"] == good.name


def test_a_named_version_that_is_known_can_be_served_and_the_one_before_needs_no_file(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    first, second = folder.promote(models.mlp(1)), folder.promote(models.mlp(2))
    with ServerProcess(folder.path) as server:
        assert server.post(RELOAD, {"version": first.name}).body == {
            "archetype": "aggressive",
            "model_type": "combat_dqn",
            "version": first.name,
            "sha256": first.model_sha256,
            "before": second.name,
            "changed": True,
        }
        folder.model_path(second).unlink()
        assert server.post(RELOAD).body["version"] == second.name
        reply = server.post(INFER, {"state": STATES[0].tolist()})
        np.testing.assert_allclose(reply.body["outputs"]["q_values"], models.mlp_values(2, STATES[:1]), rtol=1e-3)
        assert server.post(RELOAD).body["changed"] is False


def test_a_restart_serves_exactly_what_is_active(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    for number in (1, 2, 3):
        folder.promote(models.mlp(number))
    folder.promote(models.mlp(4), "mage/combat_dqn")
    folder.promote(b"", "bots/mine", interface=None)  # an external configuration has nothing to serve
    expected = {("aggressive/combat_dqn", "v000003"), ("mage/combat_dqn", "v000004")}
    for _ in range(2):
        with ServerProcess(folder.path) as server:
            body = server.get("/models").body
            assert {(f"{m['archetype']}/{m['model_type']}", m["version"]) for m in body["models"]} == expected
            assert body["refused"] == []
            server.process.kill()  # the first of the two ends by kill -9
            server.process.wait()


def test_one_damaged_model_at_the_start_keeps_no_other_from_serving(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    flip_bit(folder.model_path(folder.promote(models.mlp(1))))
    folder.promote(models.mlp(2), "mage/combat_dqn")
    with ServerProcess(folder.path) as server:
        assert server.get("/ready").body["models"] == 1
        reply = server.post(INFER, {"state": STATES[0].tolist()})
        assert (reply.status, reply.code) == (503, "not_loaded")
        assert "damaged" in reply.body["error"]["message"]
        assert server.post("/infer/mage/combat_dqn", {"state": STATES[0].tolist()}).status == 200


def test_a_fresh_run_folder_is_served_and_its_first_model_picked_up(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with ServerProcess(path) as server:
        assert server.get("/health").body["folder_id"] is None
        assert (server.get("/ready").status, server.get("/ready").code) == (503, "not_ready")
        assert server.get("/models").body == {"models": [], "refused": []}
        assert server.post(INFER, {"state": STATES[0].tolist()}).status == 404
        folder = ServedFolder(path)
        assert server.get("/health").body["folder_id"] == folder.folder_id
        folder.promote(models.mlp(1))
        assert server.post(RELOAD).body["before"] is None
        assert server.get("/ready").status == 200
        assert server.post(INFER, {"state": STATES[0].tolist()}).body["version"] == "v000001"


def test_damaged_files_of_the_supervisor_stop_no_answer(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    good = folder.promote(models.mlp(1))
    active, log = folder.path / "models" / "active.json", folder.path / "training_log.jsonl"
    with ServerProcess(folder.path) as server:
        intact = active.read_bytes()
        active.write_bytes(b"{")
        assert (server.post(RELOAD).status, server.post(RELOAD).code) == (503, "active_damaged")
        active.write_bytes(intact)
        lines = log.read_bytes()
        log.write_bytes(b'{"version":"v000001"}\n')
        assert (server.post(RELOAD).status, server.post(RELOAD).code) == (503, "log_unreadable")
        assert server.post(INFER, {"state": STATES[0].tolist()}).body["version"] == good.name
        log.write_bytes(lines + b'{"torn":')
        assert server.post(RELOAD).body["version"] == good.name
    active.write_bytes(b"{")
    with ServerProcess(folder.path) as server:
        server.wait_for_line("nothing is served yet", "active.json")
        active.write_bytes(intact)
        assert server.post(RELOAD).body["version"] == good.name


def test_a_server_started_between_commit_and_projection_serves_what_the_log_says(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    newer = folder.commit(models.mlp(2))
    with ServerProcess(folder.path) as server:
        assert server.get("/models").body["models"][0]["version"] == newer.name
