"""The JSON of an inference request in the Open Inference Protocol, checked against the model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import orjson

from supervisor.contract import Json
from supervisor.serving.errors import ApiError
from supervisor.serving.session import Session

DATATYPES: Mapping[np.dtype[Any], str] = {np.dtype(np.float32): "FP32", np.dtype(np.float16): "FP16"}
_NUMBERS = {int, float}
_US = 1e-6


@dataclass(frozen=True)
class Tensor:
    """One input. `data` are its numbers as JSON, nested or flat, where they are not binary."""

    name: str
    shape: tuple[int, ...]
    kind: np.dtype[Any]
    binary_bytes: int | None = None
    data: Json = None

    @cached_property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Head:
    """A request's JSON, understood. `outputs`: by name whether it is to be binary."""

    inputs: Sequence[Tensor]
    rows: int
    outputs: Mapping[str, bool]
    id: str | None
    timeout_s: float | None


def datatype(kind: np.dtype[Any]) -> str:
    return DATATYPES.get(kind, "FP32")


def read_head(text: bytes, model: str, session: Session, max_rows: int, binary_bytes: int) -> Head:
    """`binary_bytes`: how much binary data follows it. Raises ApiError (400) with what is wrong."""
    try:
        request = orjson.loads(text)
    except ValueError as error:
        _refuse(f"failed to parse the request JSON: {str(error)[:200]}")
    if not isinstance(request, dict):
        _refuse("the request must be a JSON object")
    parameters = _object(request, "parameters", "the request")
    name = request.get("id")
    if name is not None and not isinstance(name, str):
        _refuse("'id' must be text")
    inputs = _inputs(request, model, session, max_rows, binary_bytes)
    return Head(
        inputs=inputs,
        rows=inputs[0].shape[0],
        outputs=_outputs(request, model, session, _flag(parameters, "binary_data_output", default=False)),
        id=name,
        timeout_s=_timeout_s(parameters),
    )


def numbers(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """The numbers of a tensor that came as JSON. Raises ApiError (400)."""
    flat = tensor.data if isinstance(tensor.data, list) else [tensor.data]
    for _ in tensor.shape[1:]:
        if flat and isinstance(flat[0], list):
            if not all(isinstance(row, list) for row in flat):
                _refuse(f"input '{tensor.name}': data must be nested alike everywhere")
            flat = list(itertools.chain.from_iterable(flat))  # type: ignore[arg-type]
    if len(flat) != tensor.size:
        _refuse(
            f"input '{tensor.name}' got unexpected element count {len(flat)}, expected {tensor.size} for its shape"
            f" {list(tensor.shape)}"
        )
    if not set(map(type, flat)) <= _NUMBERS:
        _refuse(f"input '{tensor.name}': data must be numbers alone")
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, np.float64).astype(tensor.kind).reshape(tensor.shape)
    except OverflowError:
        _refuse(f"input '{tensor.name}': a number is too large")


def _inputs(
    request: Mapping[str, Json], model: str, session: Session, max_rows: int, binary_bytes: int
) -> list[Tensor]:
    given, shapes = request.get("inputs"), session.interface.inputs
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        _refuse("'inputs' must be a list of objects")
    names = [entry.get("name") for entry in given if isinstance(entry, dict)]
    for name in names:
        if not isinstance(name, str) or name not in shapes:
            _refuse(f"unexpected inference input '{str(name)[:100]}' for model '{model}'; it takes {sorted(shapes)}")
    if len(names) != len(shapes) or set(names) != set(shapes):
        _refuse(f"expected {len(shapes)} inputs but got {len(names)} inputs for model '{model}': each once")
    tensors = [_input(entry, shapes, session, binary_bytes) for entry in given if isinstance(entry, dict)]
    if len({tensor.shape[0] for tensor in tensors}) != 1:
        _refuse("all inputs must have the same number of rows")
    if not 1 <= tensors[0].shape[0] <= max_rows:
        _refuse(f"inference request batch-size must be 1 to {max_rows} for '{model}', not {tensors[0].shape[0]}")
    return tensors


def _input(
    entry: Mapping[str, Json], shapes: Mapping[str, Sequence[int]], session: Session, binary_bytes: int
) -> Tensor:
    name = str(entry["name"])
    kind = np.dtype(session.input_types[name]).newbyteorder("<")
    if entry.get("datatype") != datatype(np.dtype(session.input_types[name])):
        _refuse(
            f"inference input '{name}' data-type is '{str(entry.get('datatype'))[:40]}', expected"
            f" '{datatype(np.dtype(session.input_types[name]))}'"
        )
    shape = entry.get("shape")
    wanted = [-1, *shapes[name][1:]]
    if not isinstance(shape, list) or not all(type(size) is int for size in shape) or shape[1:] != wanted[1:]:
        _refuse(f"unexpected shape for input '{name}': expected {wanted}, got {str(shape)[:100]}")
    sizes = tuple(size for size in shape if isinstance(size, int))
    if sizes[0] < 0:
        _refuse(f"unexpected shape for input '{name}': {list(sizes)}")
    size_bytes = _object(entry, "parameters", f"input '{name}'").get("binary_data_size")
    if size_bytes is None:
        if entry.get("data") is None:
            _refuse(f"input '{name}' has neither data nor binary_data_size")
        return Tensor(name, sizes, kind, data=entry["data"])
    own_bytes = math.prod(sizes) * kind.itemsize
    if (
        entry.get("data") is not None
        or type(size_bytes) is not int
        or size_bytes != own_bytes
        or own_bytes > binary_bytes
    ):
        _refuse(
            f"input '{name}': shape {list(sizes)} is {own_bytes} bytes, binary_data_size says"
            f" {str(size_bytes)[:40]} and {binary_bytes} bytes follow the JSON"
        )
    return Tensor(name, sizes, kind, binary_bytes=own_bytes)


def _outputs(request: Mapping[str, Json], model: str, session: Session, binary: bool) -> dict[str, bool]:
    given, names = request.get("outputs"), list(session.interface.outputs)
    if not given:
        return dict.fromkeys(names, binary)
    if not isinstance(given, list):
        _refuse("'outputs' must be a list of objects")
    found: dict[str, bool] = {}
    for entry in given:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or name not in names:
            _refuse(f"unexpected inference output '{str(name)[:100]}' for model '{model}'; it has {names}")
        parameters = _object(entry, "parameters", f"output '{name}'")
        if "classification" in parameters:
            _refuse("the classification extension is not there; ask for the values")
        found[str(name)] = _flag(parameters, "binary_data", binary)
    return found


def _object(holder: Mapping[str, Json], key: str, where: str) -> Mapping[str, Json]:
    """Null stands for none: clients that fill in every field of the protocol write so."""
    value = holder.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse(f"'{key}' of {where} must be an object")
    return value


def _flag(parameters: Mapping[str, Json], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        _refuse(f"'{key}' must be true or false")
    return value


def _timeout_s(parameters: Mapping[str, Json]) -> float | None:
    value = parameters.get("timeout", 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse("'timeout' must be a whole number of microseconds")
    return value * _US if value else None


def _refuse(message: str) -> NoReturn:
    raise ApiError(400, "bad_request", message)
