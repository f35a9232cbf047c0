"""A target whose trials cost nothing; a score is a function of seed and parameters. For tests of the loop."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from supervisor.contract import Interface, Params, TrialSpec, Version
from supervisor.journal import durable
from trainers.target import Built, Control

INTERFACE = Interface({"state": (0, 64)}, {"q_values": (0, 10)})


class NoopTarget:
    """Wins a game when a hash of its seed is below the strength that `params["skill"]` gives."""

    block_games = 100

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        self._spec = spec
        self._control = control

    def build(self, params: Params, work: Path) -> Built:
        self._control.beat(0)
        body = durable.canonical_json({"params": dict(params), "seed": self._spec.seeds["train"]})
        model, weights = work / "model.onnx", work / "final.pt"
        durable.write_atomic(model, b"model" + body)
        durable.write_atomic(weights, b"weights" + body)
        measured = {"onnx_difference": 0.0, "latency_ms_batch_1": 0.1, "latency_ms_batch_128": 0.2}
        return Built(steps=1, model=model, weights=weights, interface=INTERFACE, measured=measured)

    def candidate(self, params: Params, built: Built) -> NoopPlayer:
        return NoopPlayer(float(params["skill"]))

    def incumbent(self, version: Version) -> NoopPlayer:
        return NoopPlayer(float(version.params["skill"]))

    def close(self) -> None:
        pass


class NoopPlayer:
    def __init__(self, skill: float) -> None:
        self._chance = 0.3 + 0.4 * skill

    def play(self, first_seed: int, games: int) -> Sequence[float]:
        return [float(_uniform(seed) < self._chance) for seed in range(first_seed, first_seed + games)]


def _uniform(seed: int) -> float:
    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:7], "big") / 2**56
