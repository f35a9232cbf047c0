"""One client of the inference server, as a game has it: asks what to do, says how fights ended."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from supervisor.errors import StorageUnreachableError
from trainers.jobs.job import say

TIMEOUT_S = 30.0
PATIENCE_S = 120.0
"""A server that is away for so long is not coming back: a restart takes seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
BUSY = (429, 503)


class NotServedError(Exception):
    """The server has no model of this target yet, or refuses the request."""


@dataclass(frozen=True)
class Choice:
    """What the version chose for each row."""

    version: str
    actions: NDArray[np.int64]


class LiveClient:
    """One connection under one client key, opened again where it breaks."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._headers = {"Content-Type": "application/json", "X-Client-Key": key}
        self._host, self._port = host, port

    def choose(self, target: str, inputs: Mapping[str, NDArray[np.float32]]) -> Choice:
        """Raises NotServedError, StorageUnreachableError after PATIENCE_S without an answer."""
        body = orjson.dumps({"inputs": dict(inputs)}, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._ask("POST", f"/infer/{target}", body)
        return Choice(str(answer["version"]), np.array(answer["actions"], np.int64))

    def report(self, target: str, outcomes: Sequence[tuple[str, float]]) -> None:
        """Fights that a version played to their end: (version, score)."""
        told = [{"version": version, "score": score} for version, score in outcomes]
        self._ask("POST", f"/outcome/{target}", orjson.dumps({"outcomes": told}))

    def inputs_of(self, target: str) -> dict[str, int]:
        """How many numbers each input of the target's model takes, in order."""
        models = self._ask("GET", "/models", None)["models"]
        for model in models:
            if f"{model['archetype']}/{model['model_type']}" == target:
                return {name: int(np.prod(shape[1:])) for name, shape in model["inputs"].items()}
        raise NotServedError(f"the server has no model of {target} yet")

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        """The answer's object. What a server that restarts or is full did not answer is asked again."""
        until_s, pause_s, told = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S, False
        while True:
            try:
                self._connection.request(method, path, body, self._headers)
                response = self._connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                why = str(error) or type(error).__name__
            else:
                if response.status == 200:
                    answer: dict[str, Any] = orjson.loads(data)
                    return answer
                why = f"{response.status} {data[:300].decode(errors='replace')}"
                if response.status not in BUSY:
                    raise NotServedError(why)
            if time.monotonic() > until_s:
                raise StorageUnreachableError(
                    f"no answer from a model server at {self._host}:{self._port} ({why}); start one: incumbent serve"
                )
            if pause_s == LONGEST_PAUSE_S and not told:
                say(f"waiting for a model server at {self._host}:{self._port} ({why})")
                told = True
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
