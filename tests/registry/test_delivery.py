"""Reloads reach the server whatever it does meanwhile, and the loop never waits for it."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.contract import Interface, Version
from supervisor.registry import delivery as deliveries
from supervisor.registry.active import ActiveFile
from supervisor.registry.client import NoAnswerError, ServerClient
from supervisor.registry.delivery import ReloadDelivery, behind
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

INTERFACE = Interface({"state": (0, 64)}, {"q": (0, 10)})
OTHER = "mage/combat_dqn"


def version(number: int) -> Version:
    return Version(f"v{number:06d}", number, {}, f"{number:064x}", interface=INTERFACE)


class ScriptedServer:
    """Answers as a model server does, in the way the test wants; what was asked of it is in `reloads`."""

    def __init__(self, run_dir: Path, port: int = 0) -> None:
        self.run_dir = run_dir
        self.folder_id = "ours"
        self.live: dict[str, Version] = {}
        self.answers: dict[str, tuple[int, dict[str, object]]] = {}  # target -> answer instead of a reload
        self.reloads: queue.Queue[str] = queue.Queue()
        self.comparisons: queue.Queue[str] = queue.Queue()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/health":
                    self.reply(200, {"status": "ok", "folder_id": outer.folder_id})
                else:
                    outer.comparisons.put(self.path)  # active.json has been read before this is asked
                    self.reply(200, {"models": outer.listing()})

            def do_POST(self) -> None:
                target = self.path.removeprefix("/reload/")
                answer = outer.reload(target)
                outer.reloads.put(target)  # before the answer: the next order may come on another thread
                self.reply(*answer)

            def reply(self, status: int, body: dict[str, object]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def listing(self) -> list[dict[str, object]]:
        rows = []
        for target, live in self.live.items():
            archetype, model_type = target.split("/")
            rows.append(
                {"archetype": archetype, "model_type": model_type, "version": live.name, "sha256": live.model_sha256}
            )
        return rows

    def reload(self, target: str) -> tuple[int, dict[str, object]]:
        if target in self.answers:
            return self.answers[target]
        active = ActiveFile.read(self.run_dir)
        assert active is not None
        self.live[target] = active.targets[target].as_version()
        return 200, {"version": self.live[target].name}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Desk:
    """A delivery with its reports."""

    def __init__(self, run_dir: Path, port: int) -> None:
        self.reports: queue.Queue[tuple[str, str]] = queue.Queue()
        self.delivery = ReloadDelivery(
            run_dir, ServerClient("127.0.0.1", port), "ours", lambda event, reason: self.reports.put((event, reason))
        )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "BACKOFF_S", (0.01,))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tmp_path)
    yield server
    server.close()


def activate(run_dir: Path, **versions: Version) -> None:
    ActiveFile.of({TARGET: versions["ours"], **({OTHER: versions["mage"]} if "mage" in versions else {})}).write(
        run_dir
    )


def test_a_change_is_delivered(server: ScriptedServer, tmp_path: Path) -> None:
    desk = Desk(tmp_path, server.port)
    server.comparisons.get(timeout=30)
    activate(tmp_path, ours=version(1))
    desk.delivery.changed(TARGET, "v000001")
    assert server.reloads.get(timeout=30) == TARGET
    assert desk.delivery.close(timeout_s=30) == {}
    assert server.live[TARGET] == version(1)
    assert desk.reports.empty()


def test_what_changed_while_nobody_told_it_is_found_by_comparing(server: ScriptedServer, tmp_path: Path) -> None:
    activate(tmp_path, ours=version(2), mage=version(3))
    server.live = {TARGET: version(1), OTHER: version(3)}
    desk = Desk(tmp_path, server.port)
    assert server.reloads.get(timeout=30) == TARGET
    assert desk.delivery.close(timeout_s=30) == {}
    assert server.reloads.empty()
    assert server.live[TARGET] == version(2)


def test_a_server_that_comes_later_gets_what_waited(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    activate(tmp_path, ours=version(1))
    desk = Desk(tmp_path, port)
    desk.delivery.changed(TARGET, "v000001")
    event, reason = desk.reports.get(timeout=30)
    assert event == "server_silent"
    assert TARGET in reason
    server = ScriptedServer(tmp_path, port)
    assert server.reloads.get(timeout=30) == TARGET
    assert desk.delivery.close(timeout_s=30) == {}
    assert desk.reports.empty()  # the silence was said once
    server.close()


def test_silence_is_reported_once_and_not_before_a_server_had_time_to_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        desk = Desk(tmp_path, mute.getsockname()[1])
        desk.delivery.changed(TARGET, "v000001")
        for attempt in range(1, 4 * deliveries.TELL_AFTER):
            connection, _ = mute.accept()  # what came of the attempts before is known by now
            assert desk.reports.qsize() == (attempt > deliveries.TELL_AFTER)
            connection.close()
    assert desk.delivery.close(timeout_s=30) == {TARGET: "v000001"}


def test_a_server_that_restarts_is_compared_again(server: ScriptedServer, tmp_path: Path) -> None:
    activate(tmp_path, ours=version(1), mage=version(2))
    server.live = {TARGET: version(1), OTHER: version(2)}
    desk = Desk(tmp_path, server.port)
    server.comparisons.get(timeout=30)
    port = server.port
    server.close()
    activate(tmp_path, ours=version(3), mage=version(2))
    desk.delivery.changed(TARGET, "v000003")
    desk.reports.get(timeout=30)
    second = ScriptedServer(tmp_path, port)
    second.live = {TARGET: version(1)}  # came up before the change, and without the other model
    assert sorted(second.reloads.get(timeout=30) for _ in range(2)) == [TARGET, OTHER]
    assert desk.delivery.close(timeout_s=30) == {}
    assert second.live == {TARGET: version(3), OTHER: version(2)}
    second.close()


def test_several_changes_of_a_target_need_one_word(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    desk = Desk(tmp_path, port)
    for number in range(1, 20):
        activate(tmp_path, ours=version(number))
        desk.delivery.changed(TARGET, f"v{number:06d}")
    server = ScriptedServer(tmp_path, port)
    assert server.reloads.get(timeout=30) == TARGET
    assert desk.delivery.close(timeout_s=30) == {}
    assert server.reloads.empty()
    assert server.live[TARGET] == version(19)
    server.close()


def test_a_refused_reload_is_reported_and_not_repeated(server: ScriptedServer, tmp_path: Path) -> None:
    activate(tmp_path, ours=version(1), mage=version(2))
    server.live = {TARGET: version(1), OTHER: version(2)}
    server.answers[TARGET] = (422, {"error": {"code": "not_finite", "message": "tensor 'w0' holds NaN"}})
    desk = Desk(tmp_path, server.port)
    server.comparisons.get(timeout=30)
    activate(tmp_path, ours=version(3), mage=version(4))
    desk.delivery.changed(TARGET, "v000003")
    desk.delivery.changed(OTHER, "v000004")
    assert [server.reloads.get(timeout=30) for _ in range(2)] == [TARGET, OTHER]
    assert desk.delivery.close(timeout_s=30) == {}
    assert server.reloads.empty()
    event, reason = desk.reports.get_nowait()
    assert event == "reload_refused"
    assert "v000003" in reason
    assert "tensor 'w0' holds NaN" in reason


def test_a_passing_fault_is_tried_again(server: ScriptedServer, tmp_path: Path) -> None:
    activate(tmp_path, ours=version(1))
    server.answers[TARGET] = (503, {"error": {"code": "log_unreadable", "message": "being rotated"}})
    desk = Desk(tmp_path, server.port)
    for _ in range(3):
        assert server.reloads.get(timeout=30) == TARGET
    del server.answers[TARGET]
    while server.live.get(TARGET) != version(1):
        server.reloads.get(timeout=30)
    assert desk.delivery.close(timeout_s=30) == {}


def test_what_is_active_is_asked_again_where_it_cannot_be_read_just_now(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "models" / "active.json"
    path.parent.mkdir()
    path.symlink_to("/proc/self/mem")  # can be opened, and its first bytes cannot be read: EIO
    desk = Desk(tmp_path, server.port)
    desk.delivery.changed(TARGET, "v000001")
    event, reason = desk.reports.get(timeout=30)
    assert event == "server_silent"
    assert "Input/output error" in reason
    activate(tmp_path, ours=version(1))
    assert server.reloads.get(timeout=30) == TARGET
    assert desk.delivery.close(timeout_s=30) == {}
    assert server.live[TARGET] == version(1)


def test_another_version_in_the_answer_is_reported(server: ScriptedServer, tmp_path: Path) -> None:
    activate(tmp_path, ours=version(1))
    server.live = {TARGET: version(1)}
    server.answers[TARGET] = (200, {"version": "v000009"})
    desk = Desk(tmp_path, server.port)
    desk.delivery.changed(TARGET, "v000001")
    assert desk.reports.get(timeout=30)[0] == "reload_mismatch"
    assert desk.delivery.close(timeout_s=30) == {}


def test_the_server_of_another_run_folder_is_left_alone(server: ScriptedServer, tmp_path: Path) -> None:
    server.folder_id = "theirs"
    activate(tmp_path, ours=version(1))
    desk = Desk(tmp_path, server.port)
    desk.delivery.changed(TARGET, "v000001")
    assert "another run folder" in desk.reports.get(timeout=30)[1]
    assert desk.delivery.close(timeout_s=30) == {TARGET: "v000001"}
    assert server.reloads.empty()


def test_closing_without_a_server_ends_at_once_and_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "BACKOFF_S", (3600.0,))
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        desk = Desk(tmp_path, reserved.getsockname()[1])
        desk.delivery.changed(TARGET, "v000001")
        started_s = time.monotonic()
        assert desk.delivery.close(timeout_s=30) == {TARGET: "v000001"}
        assert time.monotonic() - started_s < 4


def test_a_server_that_never_answers_does_not_hold_the_loop(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        desk = Desk(tmp_path, deaf.getsockname()[1])
        connection, _ = deaf.accept()
        started_s = time.monotonic()
        for _ in range(1000):
            desk.delivery.changed(TARGET, "v000001")
        assert desk.delivery.close() == {TARGET: "v000001"}
        assert time.monotonic() - started_s < 4
        connection.close()


def test_behind_counts_version_and_bytes_and_skips_what_has_no_model_file() -> None:
    active = ActiveFile.of({TARGET: version(5), "bots/mine": Version("v000002", 2, {}, "c" * 64)})
    row = {"archetype": "aggressive", "model_type": "combat_dqn", "version": "v000005", "sha256": f"{5:064x}"}
    assert behind(active, {"models": [row]}) == {}
    assert behind(active, {"models": [{**row, "sha256": f"{6:064x}"}]}) == {TARGET: "v000005"}
    assert behind(active, {"models": [{**row, "version": "v000004"}]}) == {TARGET: "v000005"}
    for odd in ({}, {"models": None}, {"models": ["text", {}]}):
        assert behind(active, odd) == {TARGET: "v000005"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n{"]
)
def test_what_is_no_server_of_ours_counts_as_silent(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NoAnswerError):
            ServerClient("127.0.0.1", listener.getsockname()[1]).get("/health")
        thread.join()


@pytest.mark.parametrize("token", ["hunter2\nadmin", "hunter2\N{EURO SIGN}"])
def test_a_token_that_cannot_be_sent_is_not_repeated_in_what_is_reported(tmp_path: Path, token: str) -> None:
    reports: queue.Queue[str] = queue.Queue()
    client = ServerClient("127.0.0.1", 9, token)
    delivery = ReloadDelivery(tmp_path, client, "ours", lambda _, reason: reports.put(reason))
    delivery.changed(TARGET, "v000001")
    reason = reports.get(timeout=30)
    assert delivery.close(timeout_s=30) == {TARGET: "v000001"}
    assert "character 8 of the token" in reason
    assert "hunter2" not in reason + repr(client)


def test_a_real_server_takes_up_what_is_delivered(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    reports: queue.Queue[tuple[str, str]] = queue.Queue()
    with ServerProcess(folder.path) as server:
        client = ServerClient("127.0.0.1", server.port)
        delivery = ReloadDelivery(folder.path, client, folder.folder_id, lambda *report: reports.put(report))
        second = folder.promote(models.mlp(2))
        delivery.changed(TARGET, second.name)
        server.wait_for_line(TARGET, "v000001 -> v000002")
        third = folder.promote(models.nan_weights())
        delivery.changed(TARGET, third.name)
        assert reports.get(timeout=30)[0] == "reload_refused"
        assert delivery.close(timeout_s=30) == {}
        assert server.get("/models").body["models"][0]["version"] == second.name
