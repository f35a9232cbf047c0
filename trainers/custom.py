"""A user's own target kind, `module:Class`: found by name, with an error that says what to correct."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from supervisor.contract import TrialSpec
from supervisor.errors import ConfigurationError
from trainers.target import Control, TrialTarget

if TYPE_CHECKING:
    from trainers.learner import ModelType

TargetClass = Callable[[TrialSpec, Path, Control], TrialTarget]

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
METHODS = ("build", "candidate", "incumbent", "close")
MODEL_METHODS = ("learner", "player", "rehearse")


def load_target(name: str) -> TargetClass:
    """The class that `module:Class` names. Importing it runs the user's module.

    Raises ConfigurationError where the name is no such name, the module cannot be imported, or the class lacks what
    `TrialTarget` asks for.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError([f"kind: {name!r} is neither a built-in kind nor module:Class; correct the name"])
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        what = f"cannot be imported ({type(error).__name__}: {error})"
        raise ConfigurationError(
            [f"kind: {name}: module {module_name} {what}; is it installed, or its folder on PYTHONPATH?"]
        ) from error
    kind = getattr(module, class_name, None)
    if not inspect.isclass(kind):
        raise ConfigurationError([f"kind: {name}: {module.__file__} has no class {class_name}; correct the name"])
    if not _lacks(kind, MODEL_METHODS):
        return _with_model(cast("Callable[[], ModelType]", kind))
    missing = _lacks(kind, METHODS)
    if missing:
        raise ConfigurationError(
            [
                f"kind: {name}: the class has no {', '.join(missing)}; trainers/target.py says what a TrialTarget does,"
                " and trainers/learner.py what a ModelType does"
            ]
        )
    return cast(TargetClass, kind)


def _lacks(kind: type, methods: Sequence[str]) -> list[str]:
    return [method for method in methods if not callable(getattr(kind, method, None))]


def _with_model(kind: Callable[[], ModelType]) -> TargetClass:
    """A model type of the user's, trained, exported and played as the built-in ones are."""

    def target(spec: TrialSpec, folder: Path, control: Control) -> TrialTarget:
        from trainers.arena_target import ArenaTarget  # torch, which a TrialTarget need not have

        return ArenaTarget(spec, folder, control, kind())

    return target
