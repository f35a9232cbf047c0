"""Sends drawn requests to a server, and holds every answer against its own document."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import hypothesis
from hypothesis import HealthCheck, given

from tests.support.fuzzing import FAULTS
from tests.support.json_schema import Schema, problems
from tests.support.openapi_requests import JSON, Drawn, Operation, operations, requests

KNOWN: Mapping[str, str] = {
    "archetype": "aggressive", "model_type": "combat_dqn", "name": "aggressive.combat_dqn", "version": "v000001",
}  # fmt: skip
FOR_ORDERS: Mapping[str, str] = {**KNOWN, "archetype": "mage", "name": "mage.combat_dqn"}
"""A model that may be unloaded and rolled back without anybody missing it."""


@dataclass
class OpenApiFuzzing:
    """`statuses` counts the answers."""

    port: int
    document: Schema
    statuses: Counter[int] = field(default_factory=Counter)
    _connection: http.client.HTTPConnection | None = None

    def every_operation(self, count: int, seed: int) -> None:
        """So many requests all in all, nine of ten to those that take a body."""
        every = list(operations(self.document))
        taking = [operation for operation in every if operation.content]
        for operation in every:
            share = 0.9 / len(taking) if operation.content else 0.1 / (len(every) - len(taking))
            self.drawn(operation, math.ceil(count * share), seed)

    def drawn(self, operation: Operation, count: int, seed: int) -> None:
        """Raises AssertionError with the shortest request that is not answered as the document says."""
        known = FOR_ORDERS if operation.is_order else KNOWN

        @hypothesis.seed(seed)
        @hypothesis.settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(request=requests(operation, self.document, known))
        def every_answer_is_as_it_says(request: Drawn) -> None:
            self.ask(request)

        every_answer_is_as_it_says()

    def ask(self, request: Drawn, **headers: str) -> int:
        """The status of an answer that is as the document says. Raises AssertionError."""
        status, told, data = self._answer(request, {**request.headers, **headers})
        self.statuses[status] += 1
        found = wrong(request.operation, status, told, data, self.document)
        assert not found, f"{found[:5]} for {request}: {status} {data[:500]!r}"
        assert status != 500, f"{data[:500]!r} for {request}"
        assert not FAULTS.search(data), f"{data[:500]!r} for {request}"
        return status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _answer(self, request: Drawn, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Once more on a new connection where the server closed the old one meanwhile."""
        sent = {name: value.encode("latin-1") for name, value in headers.items()}
        for _ in range(2):
            connection = self._connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self._connection = connection
            with contextlib.suppress(http.client.RemoteDisconnected, ConnectionError):
                connection.request(request.operation.method, request.path, request.body, sent)
                response = connection.getresponse()
                return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            self.close()
        raise AssertionError(f"no answer to {request}")


def wrong(operation: Operation, status: int, headers: Mapping[str, str], data: bytes, document: Schema) -> list[str]:
    """A sentence for everything about an answer that the document does not say."""
    described = operation.described["responses"].get(str(status))
    if described is None:
        return [f"status {status} is not described for {operation.name}"]
    content, kind = described.get("content", {}), headers.get("content-type", "").partition(";")[0]
    if not content:
        return [f"{len(data)} bytes where none are described"] if data else []
    if kind not in content:
        return [f"content type {kind!r} is none of {[*content]}"]
    missing = [f"{name} is missing" for name in described.get("headers", {}) if _lacks(name, status, kind, headers)]
    return missing + (list(problems(content[kind]["schema"], json.loads(data), document)) if kind == JSON else [])


def _lacks(name: str, status: int, kind: str, headers: Mapping[str, str]) -> bool:
    """Of a successful answer they come with the binary form alone; when to try again is not always known."""
    needed = status == 401 or (status == 200 and kind != JSON)
    return needed and name.lower() not in headers
