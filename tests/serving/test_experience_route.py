"""`POST /experience` on a real server: what is answered for is durable, what is sent again is stored once."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.experience.intake import frame
from supervisor.experience.intake.options import IntakeOptions
from supervisor.experience.rows import Experiences
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Selection
from supervisor.serving.openapi.document import document
from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.experiences import experiences, numbers, read, same, together
from tests.support.intake_rows import as_lines
from tests.support.json_schema import problems
from tests.support.processes import wait_for
from tests.support.scraping import samples
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import Reply, ServerProcess

ROUTE = "/experience"
LINES, JSON, FRAME = "application/x-ndjson", "application/json", frame.CONTENT_TYPE
QUICK = IntakeOptions(commit_ms=0)
DOCUMENT = document(256)


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path, taking=QUICK) as server:
        yield server


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Takes little at a time."""
    folder = ServedFolder(tmp_path_factory.mktemp("small") / "run")
    limits = IntakeOptions(max_body_kb=64, max_waiting_rows=100, commit_ms=0)
    with ServerProcess(folder.path, ServerOptions(port=0, max_body_kb=32), taking=limits) as server:
        yield server


def rows(count: int, first: int = 0) -> Experiences:
    return experiences(count, seed=first, width=models.STATE, first=first)


def send(server: ServerProcess, body: bytes, kind: str = FRAME, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = server.request("POST", ROUTE, body, **{"Content-Type": kind, **named})
    schema = DOCUMENT["paths"][ROUTE]["post"]["responses"][str(reply.status)]["content"][JSON]["schema"]
    assert not list(problems(schema, reply.body, DOCUMENT)), reply
    return reply


def taken(accepted: int, quarantined: int = 0, repeated: bool = False, **reasons: int) -> dict[str, object]:
    return {"accepted": accepted, "quarantined": quarantined, "repeated": repeated, "reasons": reasons}


@contextlib.contextmanager
def stored(folder: ServedFolder) -> Iterator[SqliteStore]:
    with contextlib.closing(SqliteStore(folder.path / "experiences.db")) as store:
        yield store


def all_stored(folder: ServedFolder) -> list[int]:
    with stored(folder) as store:
        return numbers(read(store, Selection(TARGET)))


@pytest.mark.parametrize("kind", [LINES, JSON, FRAME])
def test_what_is_sent_is_durable_when_it_is_answered(server: ServerProcess, folder: ServedFolder, kind: str) -> None:
    sent = rows(20)
    as_json = as_lines(sent, TARGET)
    bodies = {LINES: as_json, JSON: b"[" + as_json.replace(b"\n", b",") + b"]", FRAME: frame.encode(TARGET, sent)}
    assert send(server, bodies[kind], kind).body == taken(20)
    server.process.kill()  # in that very moment
    with stored(folder) as store:
        assert same(together(read(store, Selection(TARGET))), sent)


def test_what_is_no_experience_is_kept_with_the_reason(server: ServerProcess, folder: ServedFolder) -> None:
    odd = rows(5)
    odd.actions[2] = 10
    body = as_lines(odd, TARGET) + b"\n" + as_lines(rows(2), "wizard/combat_dqn") + b"\n{"
    reply = send(server, body, LINES)
    assert reply.body == taken(4, 4, action_out_of_range=1, unknown_target=2, broken_json=1)
    with stored(folder) as store:
        kept = store.connection.execute("SELECT target, reason, row FROM ml_experience_quarantine ORDER BY id")
        found = kept.fetchall()
    assert sorted(reason for _, reason, _ in found) == sorted(
        ["action_out_of_range", "unknown_target", "unknown_target", "broken_json"]
    )
    assert ("", "broken_json", "{") in found


def test_a_parcel_that_is_sent_again_is_stored_once(server: ServerProcess, folder: ServedFolder) -> None:
    body = frame.encode(TARGET, rows(10))
    keyed = {"Idempotency_Key": "7", "X_Client_Key": "game-1"}
    assert send(server, body, **keyed).body == taken(10)
    assert send(server, body, **keyed).body == taken(10, repeated=True)
    assert send(server, body, Idempotency_Key="7", X_Client_Key="game-2").body == taken(10)
    assert send(server, body, Idempotency_Key="7").body == taken(10)  # by its address it is another one still
    assert send(server, body, Idempotency_Key="7").body == taken(10, repeated=True)
    assert send(server, body).body == send(server, body).body == taken(10)
    assert len(all_stored(folder)) == 50


def test_a_model_that_is_known_need_not_be_loaded(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    with ServerProcess(folder.path, taking=IntakeOptions(commit_ms=0, targets=[TARGET])) as server:
        assert send(server, frame.encode(TARGET, rows(3))).body == taken(3)
        assert send(server, frame.encode(TARGET, experiences(2))).body == taken(0, 2, wrong_width=2)
        folder.promote(models.two_inputs()[0], interface=models.two_inputs()[1])
        assert server.post(f"/reload/{TARGET}").status == 200
        assert send(server, frame.encode(TARGET, experiences(2, width=9))).body == taken(2)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", LINES, 400, "empty_body"),
        (b"x", "text/plain", 415, "unsupported_type"),
        (b"x", "", 415, "unsupported_type"),
        (b"{", LINES, 422, "unreadable"),
        (b"INXP", FRAME, 422, "unreadable"),
        (b"[]", JSON, 422, "unreadable"),
        (b"{}\n" * 101, LINES, 413, "too_many_experiences"),
        (b" " * 70_000, LINES, 413, "body_too_large"),
        (b" " * 40_000, JSON, 413, "body_too_large"),
    ],
)
def test_what_cannot_be_taken_is_refused_whole(
    small: ServerProcess, body: bytes, kind: str, status: int, code: str
) -> None:
    reply = send(small, body, kind)
    assert (reply.status, reply.code) == (status, code)
    assert metric(small, 'incumbent_experience_parcels_total{result="stored"}') == 0


@pytest.mark.parametrize("header", ["Idempotency_Key", "X_Client_Key"])
def test_a_key_that_is_too_long_is_refused(server: ServerProcess, header: str) -> None:
    reply = send(server, b"{}", LINES, **{header: "x" * 129})
    assert (reply.status, reply.code) == (400, "key_too_long")
    assert send(server, frame.encode(TARGET, rows(1)), **{header: "x" * 128}).status == 200


def test_only_who_may_administer_may_bring_experiences(folder: ServedFolder) -> None:
    body, right = frame.encode(TARGET, rows(1)), {"Authorization": "Bearer s3cret"}
    with ServerProcess(folder.path, ServerOptions(host="0.0.0.0", port=0, token="s3cret"), taking=QUICK) as server:
        assert send(server, body).code == "unauthorized"
        assert send(server, body, **right, Origin="http://example.org").code == "cross_origin"
        assert send(server, body, **right).status == 200


def test_a_server_may_take_none(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, taking=IntakeOptions(accept=False)) as server:
        reply = send(server, frame.encode(TARGET, rows(1)))
        assert (reply.status, reply.code) == (404, "not_accepted")
    assert not (folder.path / "experiences.db").exists()


def test_a_server_to_which_nobody_brings_any_makes_no_file(server: ServerProcess, folder: ServedFolder) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    assert not (folder.path / "experiences.db").exists()


@contextlib.contextmanager
def locked(folder: ServedFolder) -> Iterator[None]:
    """Another program holds the store: a commit waits."""
    with contextlib.closing(sqlite3.connect(folder.path / "experiences.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def begun(server: ServerProcess, replies: list[Reply], body: bytes, **headers: str) -> threading.Thread:
    thread = threading.Thread(target=lambda: replies.append(send(server, body, **headers)))
    thread.start()
    return thread


def unanswered(server: ServerProcess, body: bytes) -> socket.socket:
    """Sent by somebody who does not wait for the answer."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FRAME}\r\nContent-Length: {len(body)}\r\n\r\n"
    raw.sendall(head.encode() + body)
    return raw


def metric(server: ServerProcess, name: str) -> float:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b"".join(iter(lambda: raw.recv(65536), b""))
    return samples(data.partition(b"\r\n\r\n")[2].decode())[name]


def test_where_too_many_rows_wait_more_are_refused_and_taken_later(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, taking=IntakeOptions(commit_ms=0, max_waiting_rows=100)) as server:
        send(server, frame.encode(TARGET, rows(1)))
        replies: list[Reply] = []
        with locked(folder):
            thread = begun(server, replies, frame.encode(TARGET, rows(80, 1)))
            wait_for("the rows to wait", lambda: metric(server, "incumbent_experiences_waiting") == 80)
            refused = send(server, frame.encode(TARGET, rows(30, 81)))
            assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "no_room", "1")
            assert server.post(f"/infer/{TARGET}", {"state": [0.5] * 64}).status == 200
            assert not replies
        thread.join()
        assert replies[0].body == taken(80)
        assert send(server, frame.encode(TARGET, rows(30, 81))).body == taken(30)
    assert all_stored(folder) == list(range(111))


def test_where_the_store_is_down_nothing_is_taken_and_nothing_told_of_it(folder: ServedFolder) -> None:
    (folder.path / "experiences.db").mkdir()  # cannot be opened
    body = frame.encode(TARGET, rows(3))
    with ServerProcess(folder.path, taking=QUICK) as server:
        reply = send(server, body, Idempotency_Key="1")
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "store_down", "1")
        assert str(folder.path) not in str(reply.body)
        server.wait_for_line("experiences are refused")
        assert metric(server, "incumbent_experience_store_up") == 0
        (folder.path / "experiences.db").rmdir()
        server.wait_for_line("takes rows again")
        assert send(server, body, Idempotency_Key="1").body == taken(3)
        assert metric(server, "incumbent_experience_store_up") == 1


def test_a_server_that_is_told_to_stop_answers_for_what_it_has(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, taking=IntakeOptions(commit_ms=3_600_000)) as server:
        replies: list[Reply] = []
        thread = begun(server, replies, frame.encode(TARGET, rows(5)))
        wait_for("the rows to wait", lambda: metric(server, "incumbent_experiences_waiting") == 5)
        server.process.send_signal(signal.SIGTERM)
        thread.join(30)
        assert server.process.wait(timeout=30) == 0
    assert [reply.body for reply in replies] == [taken(5)]
    assert all_stored(folder) == [0, 1, 2, 3, 4]


def taker(server: ServerProcess) -> psutil.Process:
    """The process that takes experiences in."""
    [found] = psutil.Process(server.process.pid).children()
    return found


def test_where_the_process_that_takes_them_is_killed_the_next_ones_start_another(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, taking=IntakeOptions(commit_ms=3_600_000)) as server:
        replies: list[Reply] = []
        thread = begun(server, replies, frame.encode(TARGET, rows(5)), Idempotency_Key="1")
        wait_for("the rows to wait", lambda: metric(server, "incumbent_experiences_waiting") == 5)
        taker(server).kill()
        thread.join(30)
        assert [(reply.status, reply.code) for reply in replies] == [(503, "store_down")]
        server.wait_for_line("has ended")
        assert server.post(f"/infer/{TARGET}", {"state": [0.5] * 64}).status == 200
        again = frame.encode(TARGET, rows(300))
        reply = until_taken(server, again, Idempotency_Key="2")
        assert reply.body == taken(300)
    assert all_stored(folder) == list(range(300))


def until_taken(server: ServerProcess, body: bytes, **headers: str) -> Reply:
    replies: list[Reply] = []
    wait_for("it to be taken", lambda: replies.append(send(server, body, **headers)) or replies[-1].status == 200)
    return replies[-1]


def test_what_was_handed_over_is_stored_though_the_server_is_killed(folder: ServedFolder) -> None:
    """And nobody is left behind."""
    with ServerProcess(folder.path, taking=QUICK) as server:
        send(server, frame.encode(TARGET, rows(1)))
        own = taker(server)
        with locked(folder):
            raw = unanswered(server, frame.encode(TARGET, rows(5, 1)))
            wait_for("the rows to wait", lambda: metric(server, "incumbent_experiences_waiting") == 5)
            server.process.kill()
            server.process.wait()
            raw.close()
        own.wait(30)
    assert all_stored(folder) == [0, 1, 2, 3, 4, 5]


def test_the_address_of_the_store_is_in_nobodys_list_of_processes(folder: ServedFolder) -> None:
    url = f"sqlite:///{folder.path}/hunter2.db"
    with ServerProcess(folder.path, taking=IntakeOptions(commit_ms=0, url=url)) as server:
        assert send(server, frame.encode(TARGET, rows(1))).status == 200
        assert "hunter2" not in " ".join(taker(server).cmdline())
    assert (folder.path / "hunter2.db").exists()


def test_what_came_is_told_to_prometheus(server: ServerProcess) -> None:
    body = as_lines(rows(3), TARGET) + b"\n" + json.dumps({"archetype": "a", "model_type": "b"}).encode()
    send(server, body, LINES, Idempotency_Key="1")
    send(server, body, LINES, Idempotency_Key="1")
    assert metric(server, "incumbent_experiences_total") == 3
    assert metric(server, 'incumbent_experiences_quarantined_total{reason="unknown_target"}') == 1
    assert metric(server, 'incumbent_experience_parcels_total{result="stored"}') == 1
    assert metric(server, 'incumbent_experience_parcels_total{result="repeated"}') == 1
    assert metric(server, "incumbent_experiences_waiting") == 0
    assert metric(server, "incumbent_experience_commits_total") == 2
