"""Versions of this program and of the libraries that a trial's bits depend on."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
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


def changed_versions(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What differs, `torch 2.12.0 -> 2.13.0`; empty where nothing does."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return ", ".join(f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}" for name in names)
