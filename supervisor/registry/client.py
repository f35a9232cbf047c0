"""The supervisor's own requests to a model server, over the standard library alone."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import quote

from supervisor.config.token import clean_token
from supervisor.contract import Json

MAX_ANSWER_BYTES = 16 * 2**20

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - mapped away, not bound


class NoAnswerError(Exception):
    """Nothing, or nothing that speaks our protocol, answered."""


@dataclass(frozen=True)
class Answer:
    """Status and decoded JSON object of one answer."""

    status: int
    body: dict[str, Json]

    @property
    def error(self) -> str:
        """The message of an error answer, in one line."""
        error = self.body.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        return str(message) if message else f"status {self.status}"


@dataclass(frozen=True)
class ServerClient:
    """One server's address. Each request is a connection of its own: requests are rare, servers come and go."""

    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0  # a reload builds and probes a model before it answers

    def get(self, path: str) -> Answer:
        """Raises NoAnswerError."""
        return self._request("GET", path)

    def reload(self, target: str) -> Answer:
        """Ask the server to take up what `active.json` names for the target. Raises NoAnswerError."""
        return self._request("POST", f"/reload/{quote(target)}")

    def _request(self, method: str, path: str) -> Answer:
        host = _EVERYWHERE.get(self.host, self.host)
        connection = http.client.HTTPConnection(host, self.port, timeout=self.timeout_s)
        try:
            connection.request(method, path, headers=self._headers())
            response = connection.getresponse()
            data = response.read(MAX_ANSWER_BYTES)
            body = json.loads(data)
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise NoAnswerError(f"http://{host}:{self.port}{path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if not isinstance(body, dict):
            raise NoAnswerError(f"http://{host}:{self.port}{path}: answered {type(body).__name__}, not an object")
        return Answer(response.status, body)

    def _headers(self) -> dict[str, str]:
        # Checked here too: http.client's own error would quote the token, and that goes into events and the console.
        return {"Authorization": f"Bearer {clean_token(self.token)}"} if self.token else {}
