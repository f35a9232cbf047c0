"""Every refusal that the document describes for a route is had from it: it describes nothing that does not happen."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from supervisor.contract import Version
from supervisor.experience.intake.options import IntakeOptions
from supervisor.serving.openapi.document import document
from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.openapi_fuzzing import OpenApiFuzzing, wrong
from tests.support.openapi_requests import Drawn, Operation, examples, filled, operations
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess

OPTIONS = ServerOptions(host="0.0.0.0", port=0, token="s3cret", max_body_kb=64, max_rows=16, body_timeout_s=1.0)
DOCUMENT = document(OPTIONS.max_rows)
OPERATIONS = {operation.name: operation for operation in operations(DOCUMENT)}
REFUSALS = [
    (operation.name, int(status))
    for operation in OPERATIONS.values()
    for status in operation.described["responses"]
    if status.startswith("4")
]
RIGHT = {"Authorization": "Bearer s3cret"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Models that are right, that overflow, that have no way back, whose version before is gone, that nobody knows."""
    folder = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    folder.promote(models.mlp(1))
    folder.promote(models.overflowing(), "tank/combat_dqn")
    gone = folder.promote(models.mlp(3), "mage/combat_dqn")
    folder.promote(models.mlp(4), "mage/combat_dqn")
    folder.promote(models.nan_weights(), "support/combat_dqn")
    folder.activate("ranged/combat_dqn", Version("v000099", 99, {}, "0" * 64, interface=models.INTERFACE))
    with ServerProcess(folder.path, OPTIONS, taking=IntakeOptions(max_body_kb=64, commit_ms=0)) as server:
        folder.model_path(gone).unlink()
        yield server


@pytest.fixture
def asking(server: ServerProcess) -> Iterator[OpenApiFuzzing]:
    asking = OpenApiFuzzing(server.port, DOCUMENT)
    yield asking
    asking.close()


def of(operation: Operation, target: str, value: object = None, **headers: str) -> Drawn:
    """Its example for that target, or with that body."""
    archetype, model_type = target.split("/")
    request, *_ = examples(
        operation, {"archetype": archetype, "model_type": model_type, "name": f"{archetype}.{model_type}"}
    )
    body = request.body if value is None else json.dumps(value).encode()
    return replace(request, body=body, headers={**request.headers, **headers})


def huge(operation: Operation) -> Drawn:
    """A state whose square is infinite."""
    if operation.name == "infer":
        return of(operation, "tank/combat_dqn", {"state": [1e30] * 64})
    tensor = {"name": "state", "datatype": "FP32", "shape": [1, 64], "data": [1e30] * 64}
    path = filled(operation, {"name": "tank.combat_dqn", "version": "2"})
    return replace(of(operation, "tank/combat_dqn", {"inputs": [tensor]}), path=path)


BY_STATUS: Mapping[int, Callable[[Operation], Drawn]] = {
    400: lambda operation: of(operation, "aggressive/combat_dqn", [1]),
    401: lambda operation: of(operation, "aggressive/combat_dqn", Authorization="Bearer guess"),
    403: lambda operation: of(operation, "aggressive/combat_dqn", Origin="http://example.org"),
    404: lambda operation: of(operation, "no/model"),
    413: lambda operation: of(operation, "aggressive/combat_dqn", " " * 70_000),
    415: lambda operation: replace(of(operation, "aggressive/combat_dqn"), headers={"Content-Encoding": "br"}),
    422: huge,
}
OF_THEIR_OWN: Mapping[tuple[str, int], Callable[[Operation], Drawn]] = {
    ("reload", 409): lambda operation: of(operation, "ranged/combat_dqn", {}),
    ("reload", 422): lambda operation: of(operation, "support/combat_dqn", {}),
    ("rollback", 409): lambda operation: of(operation, "aggressive/combat_dqn", {}),
    ("rollback", 422): lambda operation: of(operation, "mage/combat_dqn", {}),
    ("shadow", 409): lambda operation: of(operation, "aggressive/combat_dqn", {"version": "v000001"}),
    ("shadow", 422): lambda operation: of(operation, "mage/combat_dqn", {"version": "v000003"}),
    ("experience", 400): lambda operation: replace(of(operation, "mage/combat_dqn"), body=b""),
    ("experience", 422): lambda operation: of(operation, "mage/combat_dqn", [1]),
    ("oipLoad", 409): lambda operation: of(operation, "ranged/combat_dqn"),
    ("oipLoad", 422): lambda operation: of(operation, "support/combat_dqn"),
}
SHOWN_ELSEWHERE = {("experience", 404)}  # in test_experience_route: of a server that takes none
SLOW, LARGE, BROKEN = b"X", b"X: " + b"a" * 70_000, b"X: \x00\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "status"), [case for case in REFUSALS if case[1] not in (408, 431) and case not in SHOWN_ELSEWHERE]
)
def test_it_is_had(name: str, status: int, asking: OpenApiFuzzing, server: ServerProcess) -> None:
    operation = OPERATIONS[name]
    if status == 400 and not operation.content:
        assert told(server, operation, BROKEN) == 400
        return
    make = OF_THEIR_OWN.get((name, status)) or BY_STATUS[status]
    request = make(operation)
    assert asking.ask(request, **{**RIGHT, **request.headers}) == status


def test_a_head_that_is_too_large_is_told_everywhere(server: ServerProcess) -> None:
    for operation in OPERATIONS.values():
        assert told(server, operation, LARGE) == 431


def test_a_head_that_does_not_come_is_told_everywhere(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [(own, stack.enter_context(begun(server, own, SLOW))) for own in OPERATIONS.values()]
        assert {answered(own, raw) for own, raw in waiting} == {408}


def test_a_body_that_does_not_come_is_told_wherever_one_is_taken(server: ServerProcess) -> None:
    come = b"Authorization: Bearer s3cret\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        taking = [own for own in OPERATIONS.values() if own.content]
        waiting = [(own, stack.enter_context(begun(server, own, come))) for own in taking]
        assert {answered(own, raw) for own, raw in waiting} == {408}


def test_no_refusal_tells_where_the_run_folder_lies(server: ServerProcess, asking: OpenApiFuzzing) -> None:
    gone = asking.ask(of(OPERATIONS["rollback"], "mage/combat_dqn", {}), **RIGHT)
    assert gone == 422  # its file is missing, and the message names it
    seen = [server.post("/rollback/mage/combat_dqn", **RIGHT), server.get("/models")]
    seen += [server.post("/v2/repository/index"), server.post("/infer/support/combat_dqn", {"state": [0.5] * 64})]
    assert "models/" in str(seen[0].body)
    assert not any(str(server.run_dir) in str(reply.body) for reply in seen)


def test_all_of_them_are_looked_at() -> None:
    for name, status in REFUSALS:
        assert status in {*BY_STATUS, 408, 431} or (name, status) in OF_THEIR_OWN, (name, status)


def begun(server: ServerProcess, operation: Operation, rest: bytes) -> socket.socket:
    """A request that begins as the operation's example does, and goes on with `rest`."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    raw.sendall(f"{operation.method} {filled(operation, {})} HTTP/1.1\r\nHost: localhost\r\n".encode())
    with contextlib.suppress(ConnectionError):  # told before all of it was sent
        raw.sendall(rest)
    return raw


def answered(operation: Operation, raw: socket.socket) -> int:
    """The status of what comes until the server closes; held against the document."""
    data = b"".join(iter(lambda: raw.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    status = int(first.split()[1])
    assert not wrong(operation, status, headers, body, DOCUMENT), data
    assert operation.path.startswith("/v2") == isinstance(json.loads(body)["error"], str), data
    return status


def told(server: ServerProcess, operation: Operation, rest: bytes) -> int:
    with begun(server, operation, rest) as raw:
        return answered(operation, raw)
