"""Inference requests as arrays, and results as answers. Strict: what is not exactly a list of numbers is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import orjson

from supervisor.contract import Json
from supervisor.serving.asked import Asked, Sent, Written
from supervisor.serving.errors import ApiError
from supervisor.serving.session import Arrays, Session

_FORMS = ("state", "states", "inputs")
_NUMBERS = {float, int}
_CONTINUOUS = "action"
_CHOICES = ("values", "logits", "probabilities")


def decode(sent: Sent, session: Session, max_rows: int) -> Asked:
    """The request of `{"state":[..]}`, `{"states":[[..],..]}` or `{"inputs":{name:[[..],..]}}`.

    Raises ApiError (400) saying what is wrong and where.
    """
    form, value = _form(object_of(sent.body))
    shapes = session.interface.inputs
    if form == "inputs":
        if not isinstance(value, dict) or set(value) != set(shapes):
            raise _bad("wrong_inputs", f"inputs: must be an object of exactly {sorted(shapes)}")
        by_name = {name: (f"inputs.{name}", value[name]) for name in shapes}
    else:
        if len(shapes) != 1:
            raise _bad("wrong_inputs", f'this model has the inputs {sorted(shapes)}: send {{"inputs": {{...}}}}')
        by_name = {next(iter(shapes)): (form, [value] if form == "state" else value)}
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
    for name, (where, rows) in by_name.items():
        arrays[name] = _rows(rows, shapes[name][1:], where, form == "state", max_rows, session.input_types[name])
    if len({len(array) for array in arrays.values()}) != 1:
        raise _bad("wrong_shape", "inputs: all inputs must have the same number of rows")
    return Asked(arrays, len(next(iter(arrays.values()))), write)


def write(version: str, outputs: Arrays) -> Written:
    return Written(orjson.dumps(answer(version, outputs), option=orjson.OPT_SERIALIZE_NUMPY))


def answer(version: str, outputs: Arrays) -> dict[str, Any]:
    """The result of some rows: all outputs by name, and what to do per row, see `actions`."""
    return {
        "version": version,
        "outputs": {name: np.ascontiguousarray(value, np.float32) for name, value in outputs.items()},
        "actions": actions(outputs),
    }


def actions(outputs: Arrays) -> Json:
    """Per row the choice of the greatest value (of equals the first), or the numbers of a continuous action.

    The output that says so is called `action`, or ends with `values`, `logits` or `probabilities`; of a model with a
    single output it may be called anything. Null where there is none.
    """
    if _CONTINUOUS in outputs:
        return cast(Json, outputs[_CONTINUOUS].tolist())
    named = [value for name, value in outputs.items() if name.endswith(_CHOICES)]
    chosen = (named or list(outputs.values()))[0] if named or len(outputs) == 1 else None
    return None if chosen is None or chosen.ndim != 2 else cast(Json, chosen.argmax(axis=1).tolist())


def decode_order(body: bytes, *fields: str) -> dict[str, str]:
    """What an order to reload or roll back says, like `{"version":"v000042"}`; an empty body says nothing."""
    if not body.strip():
        return {}
    order = object_of(body)
    unknown = sorted(set(order) - set(fields))
    if unknown:
        raise _bad("unknown_field", f"unknown fields {_short(unknown)}: this takes {', '.join(fields)}, or nothing")
    found: dict[str, str] = {}
    for name, value in order.items():
        if isinstance(value, str):
            found[name] = value
        elif value is not None:
            raise _bad("wrong_type", f"{name}: must be text" + (" like v000042" if name == "version" else ""))
    return found


def object_of(body: bytes, example: str = 'send {"state": [...]}') -> dict[str, Json]:
    """A body that must be a JSON object. Raises ApiError (400)."""
    if not body.strip():
        raise _bad("empty_body", f"the body is empty: {example}")
    try:
        request = orjson.loads(body)
    except ValueError as error:
        if b"NaN" in body or b"Infinity" in body or "infinity" in str(error):
            told = "NaN, Infinity, -Infinity and numbers too large for a double are no finite numbers"
            raise _bad("not_finite", told) from error
        raise _bad("broken_json", f"the body is not JSON: {_short(error)}") from error
    if not isinstance(request, dict):
        raise _bad("wrong_type", f"the body must be a JSON object, not a {type(request).__name__}")
    return request


def _form(request: Mapping[str, Json]) -> tuple[str, Json]:
    unknown = sorted(set(request) - set(_FORMS))
    if unknown:
        raise _bad("unknown_field", f"unknown fields {_short(unknown)}: send one of {', '.join(_FORMS)}")
    if len(request) != 1:
        raise _bad("wrong_inputs", f"send exactly one of {', '.join(_FORMS)}")
    return next(iter(request.items()))


def _rows(
    rows: Json, shape: tuple[int, ...], where: str, single: bool, max_rows: int, kind: type[np.floating[Any]]
) -> np.ndarray[Any, np.dtype[Any]]:
    if not isinstance(rows, list) or not rows:
        raise _bad("wrong_shape", f"{where}: must be a list of at least one row")
    if len(rows) > max_rows:
        raise _bad("too_many_rows", f"{where}: {len(rows)} rows, at most {max_rows} in one request")
    for index, row in enumerate(rows):
        _check(row, shape, where if single else f"{where}[{index}]")
    try:
        with np.errstate(over="ignore"):
            array = np.array(rows, dtype=np.float64).astype(kind)
    except OverflowError as error:
        raise _bad("not_finite", f"{where}: a number is too large") from error
    if not np.isfinite(array).all():
        raise _bad("not_finite", f"{where}: a number is too large for {kind.__name__}")
    return array


def _check(value: Json, shape: tuple[int, ...], where: str) -> None:
    if not shape:
        if type(value) not in _NUMBERS:
            raise _bad("not_a_number", f"{where}: {_kind(value)} where a number must be")
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        found = f"{len(value)} values" if isinstance(value, list) else _kind(value)
        raise _bad("wrong_shape", f"{where}: {found}, expected {shape[0]}")
    if len(shape) > 1 or not set(map(type, value)) <= _NUMBERS:
        for index, item in enumerate(value):
            _check(item, shape[1:], f"{where}[{index}]")


def _kind(value: Json) -> str:
    names = {bool: "true or false", str: "text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _bad(code: str, message: str) -> ApiError:
    return ApiError(400, code, message)


def _short(value: object) -> str:
    return str(value)[:200]
