"""Orders to the server that change what is live, and when they were acknowledged."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.support.served_folder import TARGET

RELOAD, ROLLBACK = "reload", "rollback"


@dataclass(frozen=True)
class Change:
    """An order that was answered. Times as in the load's log."""

    kind: str
    asked: str | None  # the version that it named
    begun_s: float
    acked_s: float
    status: int
    body: dict[str, Any]

    @property
    def took_ms(self) -> float:
        return 1e3 * (self.acked_s - self.begun_s)

    @property
    def live(self) -> str:
        """The version that the server says is live now."""
        return str(self.body["version"])

    @property
    def changed(self) -> bool:
        return self.status == 200 and bool(self.body["changed"])

    @property
    def code(self) -> str | None:
        return None if self.status == 200 else str(self.body["error"]["code"])


class Changer:
    """One kept-alive connection, one order at a time."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __enter__(self) -> Changer:
        self._connection.connect()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()

    def order(self, kind: str, version: str | None = None) -> Change:
        body = json.dumps({} if version is None else {"version": version}).encode()
        begun_s = time.monotonic()
        self._connection.request("POST", f"/{kind}/{TARGET}", body)
        response = self._connection.getresponse()
        answer = response.read()
        acked_s = time.monotonic()
        return Change(kind, version, begun_s, acked_s, response.status, json.loads(answer))
