"""Versions of this program and of the libraries that a trial's bits depend on."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

DECIDING = ("incumbent", "torch", "numpy", "onnx", "onnxruntime-gpu", "optuna", "scipy", "cmaes", "greenlet")


@functools.cache
def library_versions() -> dict[str, str]:
    """Distribution name to version, Python included; a missing one is left out."""
    found = {"python": platform.python_version()}
    for name in DECIDING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
