"""A run folder whose models are networks that were never trained: real files of real model types, made in no time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from supervisor.journal import durable
from supervisor.registry.store import WEIGHTS_SUFFIX, ModelStore
from supervisor.search.setup import load_setup
from tests.support.served_folder import ServedFolder
from trainers import weights
from trainers.catalogue import model_type
from trainers.export import interface, onnx_bytes
from trainers.learner import Case, Learner
from trainers.parameters import fields, group


def untrained(key: str, seed: int = 1) -> Learner:
    """A target's default training at step 0."""
    target = load_setup(None, {}, {"run.targets": [key]}).targets[key]
    params = target.defaults()
    kind, rewards = model_type(target.model_type), group(params, "reward")
    args = fields(kind.args, kind.names, {name: value for name, value in params.items() if name not in rewards})
    return kind.learner(Case(target.archetype, 1, rewards), args, 1, seed, None)


def folder_of(path: Path, *targets: str) -> ServedFolder:
    """Each target with one version, model and weights."""
    folder = ServedFolder(path)
    for target in targets:
        learner = untrained(target)
        exported, state = learner.exported(), weights.pack(learner.final())
        version = folder.promote(onnx_bytes(exported), target, interface(exported))
        sha256 = durable.sha256_bytes(state)
        (path / "final.pt").write_bytes(state)
        ModelStore(path).put(path / "final.pt", sha256, WEIGHTS_SUFFIX)
        folder.activate(target, replace(version, weights_sha256=sha256))
    return folder
