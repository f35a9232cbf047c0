"""Tensors on disk: a trial's resume point, and the finished weights a later trial may start from.

Files are read whole, held against their sha256 and only then unpacked, with `weights_only`: torch notices no flipped
bit, and a pickle is a program.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from supervisor.contract import as_json, parse
from supervisor.journal import durable, sealed

WEIGHTS_NAME = "weights.pt"
PREVIOUS_NAME = "weights.previous.pt"
PROGRESS_NAME = "progress.json"


@dataclass(frozen=True)
class Point:
    """A resume point: how far the training was, and the hash of the file that holds all of it."""

    step: int
    sha256: str


@dataclass(frozen=True)
class Progress:
    """`progress.json`: the point in `weights.pt`, and the one before it in `weights.previous.pt`."""

    current: Point
    previous: Point | None = None
    schema: int = 1


def pack(state: Mapping[str, object]) -> bytes:
    """Nested dicts and lists of tensors, numpy arrays and scalars as bytes that depend on nothing else: of tensors, not
    on where they lie."""
    stream = io.BytesIO()  # a file's name would become the name of the archive's root folder
    torch.save(_tensors(state), stream)
    return stream.getvalue()


def unpack(data: bytes) -> dict[str, object]:
    """What `pack` was given, numpy arrays as tensors. Check the hash first."""
    return cast(dict[str, object], torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def _tensors(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _tensors(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tensors(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
    if isinstance(value, np.generic):
        return value.item()
    return value.cpu() if isinstance(value, torch.Tensor) else value


def arrays(state: object) -> dict[str, NDArray[np.generic] | int | float | str | bool | None]:
    """One unpacked dictionary with its tensors as numpy arrays."""
    found = cast(Mapping[str, object], state)
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in found.items()}  # type: ignore[misc]


def save_point(folder: Path, step: int, state: Mapping[str, object]) -> None:
    """Make `state` the folder's resume point; killed anywhere inside, the one before it is still found.

    Raises DiskFullError with the last point untouched.
    """
    data = pack(state)
    known = _progress(folder)
    path = folder / WEIGHTS_NAME
    durable.link_previous(path, folder / PREVIOUS_NAME)
    durable.write_atomic(path, data)
    current = Point(step, durable.sha256_bytes(data))
    sealed.write(folder / PROGRESS_NAME, as_json(Progress(current, known.current if known else None)))


def load_point(folder: Path) -> tuple[int, dict[str, object]] | None:
    """The newest resume point whose file still has its hash: (step, state). None: start at step 0."""
    progress = _progress(folder)
    if progress is None:
        return None
    files = [_bytes(folder / name) for name in (WEIGHTS_NAME, PREVIOUS_NAME)]
    hashes = [durable.sha256_bytes(data) for data in files]
    for point in (progress.current, progress.previous):
        if point is not None and point.sha256 in hashes:
            return point.step, unpack(files[hashes.index(point.sha256)])
    return None


def drop_points(folder: Path) -> None:
    """Remove the resume points of a training that is finished."""
    for name in (PROGRESS_NAME, WEIGHTS_NAME, PREVIOUS_NAME):
        durable.remove(folder / name)


def load_checked(path: Path, sha256: str) -> dict[str, object]:
    """A finished weights file. Raises ValueError if it is missing or does not have its hash."""
    data = _bytes(path)
    if durable.sha256_bytes(data) != sha256:
        raise ValueError(f"{path} is missing or is not the file with sha256 {sha256}")
    return unpack(data)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _progress(folder: Path) -> Progress | None:
    try:
        return parse(Progress, sealed.read(folder / PROGRESS_NAME))
    except (FileNotFoundError, ValueError):  # nothing saved, or damaged: the training starts at step 0
        return None
