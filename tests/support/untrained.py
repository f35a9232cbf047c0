"""A run folder whose models are networks that were never trained: real files of real model types, made in no time."""

from __future__ import annotations

from pathlib import Path

from supervisor.contract import Interface
from supervisor.search.setup import load_setup
from tests.support.served_folder import ServedFolder
from trainers.catalogue import model_type
from trainers.export import interface, onnx_bytes
from trainers.learner import Case
from trainers.parameters import fields, group


def untrained(key: str, seed: int = 1) -> tuple[bytes, Interface]:
    """The file of a target's default network."""
    target = load_setup(None, {}, {"run.targets": [key]}).targets[key]
    params = target.defaults()
    kind, rewards = model_type(target.model_type), group(params, "reward")
    args = fields(kind.args, kind.names, {name: value for name, value in params.items() if name not in rewards})
    exported = kind.learner(Case(target.archetype, 1, rewards), args, 1, seed, None).exported()
    return onnx_bytes(exported), interface(exported)


def folder_of(path: Path, *targets: str) -> ServedFolder:
    """Each target with one version."""
    folder = ServedFolder(path)
    for target in targets:
        model, shapes = untrained(target)
        folder.promote(model, target, shapes)
    return folder
