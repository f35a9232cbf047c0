"""Clients of a model server that play games and report how they ended."""

from __future__ import annotations

import random
from typing import Any

from tests.support.served_folder import TARGET
from tests.support.server_process import Reply, ServerProcess

INFER, OUTCOME = f"/infer/{TARGET}", f"/outcome/{TARGET}"
STATE = {"state": [0.5] * 64}


def answering(server: ServerProcess, key: str | None = None) -> str:
    """The version that answers the client of this key."""
    headers = {} if key is None else {"X-Client-Key": key}
    return str(server.post(INFER, STATE, **headers).body["version"])


def listed(server: ServerProcess, target: str = TARGET) -> dict[str, Any]:
    """The target's entry in `/models`."""
    models = server.get("/models").body["models"]
    return next(model for model in models if f"{model['archetype']}/{model['model_type']}" == target)


def monitoring(server: ServerProcess) -> dict[str, Any]:
    watched: dict[str, Any] = listed(server)["monitoring"]
    return watched


def report(server: ServerProcess, *outcomes: tuple[str, float]) -> Reply:
    """Each outcome is a version and a score."""
    return server.post(OUTCOME, {"outcomes": [{"version": name, "score": score} for name, score in outcomes]})


def play(
    server: ServerProcess, old: tuple[str, float], new: tuple[str, float], pairs: int, seed: int = 0
) -> list[Reply]:
    """So many games of either version, each side given with its rate of wins."""
    rng, told = random.Random(seed), []
    for _ in range(pairs // 50):
        games = [side for _ in range(50) for side in (old, new)]
        told.append(report(server, *((name, float(rng.random() < rate)) for name, rate in games)))
    return told
