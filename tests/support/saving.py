"""A no-op target that trains in three steps and saves each: what it builds shows from which one it went on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from supervisor.contract import Params, Reason, TrialSpec, Version
from supervisor.errors import TrialError
from supervisor.journal import durable
from tests.support.noop import NoopPlayer, NoopTarget
from trainers import weights
from trainers.target import Built, Control

STEPS = 3


class SavingTarget(NoopTarget):
    """The state is a chain of hashes that begins with the weights of the version started from."""

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control)
        self._models = folder.parent.parent / "models"

    def build(self, params: Params, work: Path) -> Built:
        point = weights.load_point(work)
        step, state = (0, self._first()) if point is None else (point[0], str(point[1]["state"]))
        while step < STEPS:
            step, state = step + 1, hashlib.sha256(state.encode()).hexdigest()
            weights.save_point(work, step, {"state": state})
        return super().build({**params, "state": state}, work)

    def candidate(self, params: Params, built: Built) -> NoopPlayer:
        assert built.model is not None
        weights.drop_points(built.model.parent)
        return super().candidate(params, built)

    def incumbent(self, version: Version) -> NoopPlayer:
        self._digest(f"{version.model_sha256}.onnx")
        return super().incumbent(version)

    def _first(self) -> str:
        start = self._spec.start
        return "" if start is None else self._digest(f"{start.weights_sha256}.pt")

    def _digest(self, name: str) -> str:
        path = self._models / name
        found = durable.sha256_file(path) if path.is_file() else None
        if found != path.stem:
            raise TrialError(Reason.UNKNOWN_VERSION, f"{path} is missing or damaged")
        return found
