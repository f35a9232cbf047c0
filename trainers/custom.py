"""A user's own target kind, `module:Class`: found by name, with an error that says what to correct."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

from supervisor.contract import TrialSpec
from supervisor.errors import ConfigurationError
from trainers.target import Control, TrialTarget

TargetClass = Callable[[TrialSpec, Path, Control], TrialTarget]

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
METHODS = ("build", "candidate", "incumbent", "close")


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
    missing = [method for method in METHODS if not callable(getattr(kind, method, None))]
    if missing:
        raise ConfigurationError(
            [f"kind: {name}: the class has no {', '.join(missing)}; trainers/target.py says what a TrialTarget does"]
        )
    return cast(TargetClass, kind)
