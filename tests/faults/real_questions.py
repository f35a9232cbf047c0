"""Somebody who asks the server for actions all the time, and remembers every answer that should not have been."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.journal.log import LOG_NAME

STATE = tuple(round(0.01 * number, 2) for number in range(64))
PAUSE_S = 0.1
TIMEOUT_S = 30.0
DEATH_S = 0.5  # after which a server that was killed is known to be dead
PER_MODEL = ("archetype", "model_type", "version", "sha256")


@dataclass(frozen=True)
class Answer:
    """What a version made of STATE."""

    target: str
    version: str
    outputs: tuple[float, ...]


@dataclass
class Asker:
    """Asks in a thread of its own. `server` tells which start of the server is up, None while it is down on purpose:
    from a start's first answer for a target on, each request about that target must be answered until it is killed."""

    run_dir: Path
    port: int
    targets: Sequence[str]
    server: Callable[[], int | None]
    asked: int = 0
    answers: set[Answer] = field(default_factory=set)
    latest: dict[str, str] = field(default_factory=dict)  # target to the version that answered last
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._answering: dict[str, int] = {}  # target to the start of the server that answered for it
        self._log = self.run_dir / LOG_NAME
        self._read = 0  # bytes of the log
        self._versions: dict[tuple[str, str], str | None] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="asker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopping.wait(PAUSE_S):
            for target in self.targets:
                self._ask(target)
            self._look_at_models()

    def _ask(self, target: str) -> None:
        start = self.server()
        status, body = self._request("POST", f"/infer/{target}", json.dumps({"state": STATE}))
        self.asked += 1
        if status == 200:
            if start is not None and start == self.server():
                self._answering[target] = start
            outputs = tuple(float(value) for rows in body["outputs"].values() for row in rows for value in row)
            self.answers.add(Answer(target, body["version"], outputs))
            self.latest[target] = body["version"]
            if body["version"] not in self._known(target):
                self.wrong.append(f"{target} was answered by {body['version']}, which the log does not know")
        elif start is not None and self._answering.get(target) == start:
            self._stopping.wait(DEATH_S)
            if start == self.server():
                self.wrong.append(f"{target}: status {status}: {body}")

    def _look_at_models(self) -> None:
        status, body = self._request("GET", "/models", None)
        for model in body["models"] if status == 200 else []:
            archetype, model_type, version, sha256 = (model[name] for name in PER_MODEL)
            if self._known(f"{archetype}/{model_type}").get(version) != sha256:
                self.wrong.append(f"{archetype}/{model_type}: {version} is served with unknown bytes {sha256}")

    def _request(self, method: str, path: str, text: str | None) -> tuple[int, dict]:
        """Status 0 where nothing answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, text)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, {"error": repr(error)}
        finally:
            connection.close()

    def _known(self, target: str) -> dict[str, str | None]:
        """Version to model file, of the target's lines in the log at this moment."""
        size = self._log.stat().st_size if self._log.exists() else 0
        if size != self._read:
            lines = [json.loads(line) for line in self._log.read_bytes()[:size].splitlines() if line.endswith(b"}")]
            self._versions = {(line["target"], line["version"]): line["model_sha256"] for line in lines}
            self._read = size
        return {version: sha256 for (key, version), sha256 in self._versions.items() if key == target}
