"""A run folder as a supervisor leaves it, written with the supervisor's own functions: log, store, active.json."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.contract import Decision, Interface, Outcome, Reason, Status, Version
from supervisor.journal.identity import RunIdentity, save_identity
from supervisor.journal.log import Log
from supervisor.record import FIRST_CHAIN, Record
from supervisor.registry.active import ActiveFile
from supervisor.registry.store import ModelStore
from tests.support.onnx_models import INTERFACE

TARGET = "aggressive/combat_dqn"
RUN_ID = "0123456789ab"


@dataclass
class ServedFolder:
    """Promote models into it; each promotion is one committed iteration."""

    path: Path
    iteration: int = 0
    active: dict[str, Version] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        save_identity(self.path, RunIdentity(RUN_ID, 0, 1, f"folder-of-{self.path.name}", {}))
        self._log = Log(self.path, FIRST_CHAIN)

    @property
    def folder_id(self) -> str:
        return f"folder-of-{self.path.name}"

    def promote(self, model: bytes, target: str = TARGET, interface: Interface | None = INTERFACE) -> Version:
        """Store, commit, project: the new version is the active one."""
        version = self.commit(model, target, interface)
        self.activate(target, version)
        return version

    def commit(self, model: bytes, target: str = TARGET, interface: Interface | None = INTERFACE) -> Version:
        """The files and the log line, and nothing after it."""
        sha256 = hashlib.sha256(model).hexdigest()
        if interface is not None:
            source = self.path / "model.onnx"
            source.write_bytes(model)
            ModelStore(self.path).put(source, sha256)
            source.unlink()
        self.iteration += 1
        record = self._log.commit(_promotion(self.iteration, target, sha256, interface))
        version = record.made_version
        assert version is not None
        return version

    def activate(self, target: str, version: Version) -> None:
        self.active[target] = version
        ActiveFile.of(self.active).write(self.path)

    def model_path(self, version: Version) -> Path:
        return ModelStore(self.path).path(version.model_sha256)


def _promotion(iteration: int, target: str, sha256: str, interface: Interface | None) -> Record:
    archetype, model_type = target.split("/")
    return Record(
        run_id=RUN_ID,
        iteration=iteration,
        target=target,
        archetype=archetype,
        model_type=model_type,
        study=target,
        trial=iteration - 1,
        sampler="random",
        purpose="search",
        seed=iteration,
        level=1,
        params={"learning_rate": 0.001 * iteration},
        changed=("learning_rate",),
        status=Status.COMPLETE,
        reason=Reason.PROVEN,
        games=30,
        wins=20,
        draws=0,
        losses=10,
        win_rate=20 / 30,
        best_win_rate=None,
        improvement=0.1,
        delta=0.1,
        promoted=True,
        version=f"v{iteration:06d}",
        model_sha256=sha256,
        weights_sha256=None,
        steps=100,
        decision=Decision("paired_e", Outcome.PROMOTE, Reason.PROVEN),
        interface=interface,
    )
