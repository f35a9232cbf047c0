"""From a configuration's dotted names to the fields of a dataclass, with every mistake said at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from supervisor.contract import Params, Reason, Scalar
from supervisor.errors import TrialError

T = TypeVar("T")


def group(params: Params, name: str) -> dict[str, Scalar]:
    """The parameters `name.*`, under their full names."""
    return {key: value for key, value in params.items() if key.startswith(f"{name}.")}


def fields(cls: type[T], names: Mapping[str, str], params: Params) -> T:
    """The dataclass `cls`, its field f taken from the parameter `names[f]`; one with a default may be left out.

    Raises TrialError that lists every parameter missing, left over or of the wrong type.
    """
    known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    annotations = {name: str(field.type) for name, field in known.items()}
    needed = [name for name, field in known.items() if field.default is dataclasses.MISSING]
    wrong = [f"{names[name]} is missing" for name in needed if name in names and names[name] not in params]
    wrong += [f"{name} is unknown" for name in sorted(set(params) - set(names.values()))]
    values = {}
    for field, name in names.items():
        if name in params:
            value = _typed(params[name], annotations[field])
            if value is None:
                wrong.append(f"{name} is {params[name]!r}, not {annotations[field]}")
            else:
                values[field] = value
    if wrong:
        raise TrialError(Reason.OUT_OF_RANGE, "parameters: " + "; ".join(wrong))
    return cls(**values)


def _typed(value: Scalar, kind: str) -> Scalar | None:
    """The value as its kind, None if it is of another; a whole float is an int, nothing else is converted."""
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value).__name__ == kind else None
