"""Search spaces: named parameters with ranges and defaults, mapped to the unit interval and back. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import cast

from supervisor.contract import Params, Scalar

FLOAT = "float"
INT = "int"
CATEGORICAL = "categorical"
KINDS = (FLOAT, INT, CATEGORICAL)
SIGNIFICANT_DIGITS = 10  # of a float computed from the unit interval: readable, and the same on every libm


def is_number(value: object) -> bool:
    """Whether the value is a finite int or float; True and False are no numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def same_choice(left: Scalar, right: Scalar) -> bool:
    """Equality that keeps True apart from 1, but not 1 from 1.0."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


class BadParameterError(ValueError):
    """A parameter that makes no sense. `mistakes` are (field, what is wrong and what to do)."""

    def __init__(self, name: str, mistakes: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}.{field}: {text}" for field, text in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Parameter:
    """One dimension. `float` and `int` have low <= value <= high, `categorical` has choices.

    `log` searches the logarithm (low must be above 0); `step` is the grid of a float or int, counted from low.
    Raises BadParameterError naming every mistake.
    """

    name: str
    kind: str
    default: Scalar
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Scalar, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            mistakes = [("type", f"{self.kind!r} is not a type; give one of {', '.join(KINDS)}")]
        else:
            mistakes = self._categorical_mistakes() if self.kind == CATEGORICAL else self._range_mistakes()
        if mistakes:
            raise BadParameterError(self.name, mistakes)
        object.__setattr__(self, "default", self.fit(self.default))

    def _categorical_mistakes(self) -> list[tuple[str, str]]:
        found = []
        if not self.choices:
            found.append(("choices", "no choices; list at least one"))
        elif any(same_choice(a, b) for i, a in enumerate(self.choices) for b in self.choices[:i]):
            found.append(("choices", "a choice stands there twice; list each once"))
        elif self._value_problem(self.default):
            found.append(("default", self._value_problem(self.default)))
        return found

    def _range_mistakes(self) -> list[tuple[str, str]]:
        found = []
        if not (is_number(self.low) and is_number(self.high) and self.low < self.high):
            found.append(("high", f"the range {self.low} to {self.high} is empty; give low < high, both finite"))
        elif self._value_problem(self.default):
            found.append(("default", self._value_problem(self.default)))
        if self.log and not self.low > 0:
            found.append(("log", f"a logarithmic range needs low > 0, not {self.low}; raise low or set log: false"))
        if self.step is not None and not (is_number(self.step) and 0 < self.step <= self.high - self.low):
            found.append(("step", f"{self.step} is no step in this range; give one above 0 and at most high - low"))
        if self.step is not None and self.log:
            found.append(("step", "a logarithmic range has no step; remove step or log"))
        if self.kind == INT and not all(float(bound).is_integer() for bound in (self.low, self.high)):
            found.append(("low", "an int range needs whole bounds; round low and high"))
        return found

    def problem(self, value: Scalar) -> str | None:
        """What is wrong with a value and what to do, None when it fits."""
        return self._value_problem(value) or None

    def _value_problem(self, value: Scalar) -> str:
        if self.kind == CATEGORICAL:
            if any(same_choice(value, choice) for choice in self.choices):
                return ""
            return f"{value!r} is not a choice; give one of {', '.join(map(repr, self.choices))}"
        if not is_number(value):
            return f"{value!r} is not a number; give one from {self.low:g} to {self.high:g}"
        number = cast(float, value)
        if self.kind == INT and not float(number).is_integer():
            return f"{value!r} is not whole; give a whole number from {self.low:g} to {self.high:g}"
        if not self.low <= number <= self.high:
            return f"{value!r} is out of range; give a number from {self.low:g} to {self.high:g}"
        return ""

    def fit(self, value: Scalar) -> Scalar:
        """The nearest value that fits: numbers are clipped and rounded, anything else becomes the default."""
        if self.kind == CATEGORICAL:
            return next((choice for choice in self.choices if same_choice(value, choice)), self.default)
        if not is_number(value):
            return self.default
        number = min(max(cast(float, value), self.low), self.high)
        return self._typed(number)

    def to_unit(self, value: Scalar) -> float:
        """The value's place in [0, 1]; of a choice, the middle of its equal share."""
        if self.kind == CATEGORICAL:
            index = next((i for i, choice in enumerate(self.choices) if same_choice(value, choice)), None)
            if index is None:
                raise ValueError(f"{self.name}: {value!r} is not a choice")
            return (index + 0.5) / len(self.choices)
        number = float(value)
        if self.log:
            unit = math.log(number / self.low) / math.log(self.high / self.low)
        else:
            unit = (number - self.low) / (self.high - self.low)
        return min(max(unit, 0.0), 1.0)

    def from_unit(self, unit: float) -> Scalar:
        """The value at a place in [0, 1] (clipped to it), on the parameter's grid."""
        unit = min(max(unit, 0.0), 1.0)
        if self.kind == CATEGORICAL:
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        if self.log:
            number = self.low * math.exp(unit * math.log(self.high / self.low))
        else:
            number = self.low + unit * (self.high - self.low)
        if self.step is not None:
            number = self.low + round((number - self.low) / self.step) * self.step
            number -= self.step if number > self.high else 0.0
        number = float(f"{number:.{SIGNIFICANT_DIGITS}g}")
        return self._typed(min(max(number, self.low), self.high))

    def _typed(self, number: float) -> Scalar:
        return round(number) if self.kind == INT else float(number)


@dataclass(frozen=True)
class Space:
    """A target's parameters, in order of name whatever order they were given in."""

    parameters: tuple[Parameter, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.parameters, key=lambda parameter: parameter.name))
        object.__setattr__(self, "parameters", ordered)
        if len(set(self.names)) != len(ordered):
            raise ValueError("a parameter's name stands in the space twice")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def defaults(self) -> dict[str, Scalar]:
        return {parameter.name: parameter.default for parameter in self.parameters}

    def problems(self, params: Params) -> list[str]:
        """One `name: what; what to do` for each parameter that is missing, unknown or does not fit."""
        found = [f"{parameter.name}: missing; add it" for parameter in self.parameters if parameter.name not in params]
        for name, value in sorted(params.items()):
            if name not in self:
                found.append(f"{name}: not in this search space; remove it")
            elif (problem := self[name].problem(value)) is not None:
                found.append(f"{name}: {problem}")
        return found

    def fit(self, params: Params) -> dict[str, Scalar]:
        """A complete configuration of this space nearest to `params`: clipped, filled with defaults, strangers dropped.

        Used when the space changed under an incumbent.
        """
        return {
            parameter.name: parameter.fit(params[parameter.name]) if parameter.name in params else parameter.default
            for parameter in self.parameters
        }

    def with_defaults(self, values: Params) -> Space:
        """The same ranges around other defaults. Raises ValueError for a value that does not fit."""
        return Space(tuple(self._around(parameter, values) for parameter in self.parameters))

    @staticmethod
    def _around(parameter: Parameter, values: Params) -> Parameter:
        if parameter.name not in values:
            return parameter
        value = values[parameter.name]
        return replace(parameter, default=parameter.fit(value) if parameter.problem(value) is None else value)

    def digest(self) -> str:
        """sha256 over names and ranges, the same in any process.

        Defaults are left out: they are where a search starts, and those read from a user's file move when a winner is
        written into it.
        """
        body = [
            [item.name, item.kind, item.low, item.high, item.log, item.step, list(item.choices)]
            for item in self.parameters
        ]
        return hashlib.sha256(json.dumps(body, separators=(",", ":"), allow_nan=False).encode()).hexdigest()
