"""The server's own document says what it does: every route, every status, every body; and nothing that it does not."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator

import pytest
from starlette.routing import Route

from supervisor.experience.intake.options import IntakeOptions
from supervisor.serving.app import Service, build_app
from supervisor.serving.openapi.codes import SAYS
from supervisor.serving.openapi.document import document, written
from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.json_schema import parameters_of, problems, references, resolved
from tests.support.openapi_fuzzing import FOR_ORDERS, KNOWN, OpenApiFuzzing
from tests.support.openapi_requests import JSON, Operation, bent_everywhere, examples, operations, shown_values
from tests.support.processes import ROOT
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

OPTIONS = ServerOptions(port=0, max_body_kb=64, max_rows=16)
DOCUMENT = document(OPTIONS.max_rows)
OPERATIONS = list(operations(DOCUMENT))
TAKING_A_BODY = [operation for operation in OPERATIONS if operation.content]
REQUESTS, WITH_BODY = 8, 30  # of one operation

named = pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    folder.promote(models.mlp(1))
    for seed in (2, 3):
        folder.promote(models.mlp(seed), "mage/combat_dqn")
    with ServerProcess(folder.path, OPTIONS, taking=IntakeOptions(commit_ms=0)) as server:
        yield server


@pytest.fixture
def fuzzing(server: ServerProcess) -> Iterator[OpenApiFuzzing]:
    fuzzing = OpenApiFuzzing(server.port, DOCUMENT)
    yield fuzzing
    fuzzing.close()


def test_the_server_publishes_it(server: ServerProcess) -> None:
    reply = server.get("/openapi.json")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "application/json", DOCUMENT)
    assert written(16) is written(16)


def test_every_route_of_the_application_is_in_it_and_nothing_else() -> None:
    nothing = {part.name: None for part in dataclasses.fields(Service)}
    routes = [route for route in build_app(Service(**nothing)).routes if isinstance(route, Route)]  # type: ignore[arg-type]
    there = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    assert {(operation.method, operation.path) for operation in OPERATIONS} == there


def test_it_is_openapi() -> None:
    """What the standard asks for, as far as this document uses it."""
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert {"title", "version"} <= set(DOCUMENT["info"])
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    for reference in references(DOCUMENT):
        assert resolved({"$ref": reference}, DOCUMENT), reference
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    components = DOCUMENT["components"]
    assert set(components["schemas"]) | set(components["parameters"]) == used
    for operation in OPERATIONS:
        assert operation.path.startswith("/")
        in_path = [own["name"] for own in operation.parameters if own["in"] == "path"]
        assert sorted(in_path) == sorted(parameters_of(operation.path))
        assert all(own["required"] for own in operation.parameters if own["in"] == "path")
        assert all(own["in"] in ("path", "header") and "schema" in own for own in operation.parameters)
        for status, response in operation.described["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            assert response["description"]
        for requirement in operation.described.get("security", []):
            assert set(requirement) <= set(components["securitySchemes"])


@named
def test_its_examples_fit_and_are_answered(operation: Operation, fuzzing: OpenApiFuzzing) -> None:
    for value in shown_values(operation):
        assert not list(problems(operation.content[JSON]["schema"], value, DOCUMENT))
    if operation.name == "rollback":  # its example has no version before it
        assert fuzzing.ask(*examples(operation)) == 409
        return
    known = {"oipUnload": {"name": "mage.combat_dqn"}, "shadow": {"archetype": "mage"}}.get(operation.name, {})
    for request in examples(operation, known):
        assert fuzzing.ask(request) == 200


@pytest.mark.parametrize("operation", TAKING_A_BODY, ids=[operation.name for operation in TAKING_A_BODY])
def test_whatever_stands_in_whichever_place_the_answer_is_as_it_says(
    operation: Operation, fuzzing: OpenApiFuzzing
) -> None:
    for request in examples(operation, FOR_ORDERS if operation.is_order else KNOWN):
        for value in bent_everywhere(json.loads(request.body or b"")):
            fuzzing.ask(dataclasses.replace(request, body=json.dumps(value).encode()))


@named
def test_whatever_is_sent_every_answer_is_as_it_says(operation: Operation, fuzzing: OpenApiFuzzing) -> None:
    fuzzing.drawn(operation, WITH_BODY if operation.content else REQUESTS, seed=5)


def test_another_method_is_refused_on_every_path(server: ServerProcess) -> None:
    for path in DOCUMENT["paths"]:
        reply = server.request("PATCH", path.replace("{", "").replace("}", ""))
        assert (reply.status, bool(reply.body["error"])) == (405, True)


def test_every_code_of_an_error_is_explained_and_no_other() -> None:
    sources = list((ROOT / "supervisor" / "serving").glob("*.py"))
    text = "".join(path.read_text() for path in sources)
    used = set(re.findall(r'(?:ApiError|Refused|refused|_bad)\(\s*(?:\d{3},\s*)?"(\w+)"', text))
    assert used
    assert used <= set(SAYS)
    by_status = {"not_found", "method_not_allowed"}
    assert {code for code in SAYS if f'"{code}"' not in text} == by_status


def test_after_all_that_the_server_answers_rightly(server: ServerProcess) -> None:
    assert server.post(f"/infer/{TARGET}", {"state": [0.5] * 64}).body["version"] == "v000001"
