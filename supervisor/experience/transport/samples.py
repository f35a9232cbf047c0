"""The files of `incumbent collect`: choices of one archetype, (state, action, reward, next state, done) row by row."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS: Mapping[str, Any] = {
    "states": np.float32,
    "actions": np.int64,
    "rewards": np.float32,
    "next_states": np.float32,
    "done": np.bool_,
}

Arrays = dict[str, NDArray[Any]]


def encoded(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's bytes."""
    stream = io.BytesIO()
    np.savez(stream, **{name: np.ascontiguousarray(array, KINDS[name]) for name, array in arrays.items()})  # type: ignore[arg-type]
    return stream.getvalue()
