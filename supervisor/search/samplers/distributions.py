"""Our parameters as Optuna's distributions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from supervisor.contract import Params, Scalar
from supervisor.search.space import CATEGORICAL, FLOAT, INT, Parameter, Space

Distributions = Mapping[str, BaseDistribution]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    return {parameter.name: distribution(parameter) for parameter in space.parameters}


def distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == CATEGORICAL:
        return CategoricalDistribution(parameter.choices)
    high = _last_on_grid(parameter)
    if parameter.kind == INT:
        return IntDistribution(int(parameter.low), int(high), log=parameter.log, step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, high, log=parameter.log, step=parameter.step)


def space_of(found: Distributions) -> Space:
    """The space of these distributions without those that hold a single value. Defaults are the middle of the range."""
    return Space(tuple(_parameter(name, item) for name, item in found.items() if not item.single()))


def on_grid(space: Space, params: Params) -> dict[str, Scalar]:
    """The configuration with every value where its distribution can hold it: defaults filled in, steps rounded to."""
    fitted = space.fit(params)
    for item in space.parameters:
        if item.step is not None:
            fitted[item.name] = item.from_unit(item.to_unit(fitted[item.name]))
    return fitted


def _last_on_grid(parameter: Parameter) -> float:
    """The highest value of the grid: Optuna wants the range to be a whole number of steps."""
    if parameter.step is None:
        return parameter.high
    low, high, step = (Decimal(str(number)) for number in (parameter.low, parameter.high, parameter.step))
    return float(high - (high - low) % step)


def _parameter(name: str, item: BaseDistribution) -> Parameter:
    if isinstance(item, CategoricalDistribution):
        choices = tuple(choice for choice in item.choices if isinstance(choice, bool | int | float | str))
        return Parameter(name=name, kind=CATEGORICAL, default=choices[0], choices=choices)
    if isinstance(item, IntDistribution):
        step = float(item.step) if item.step != 1 else None
        parameter = Parameter(name, INT, item.low, low=item.low, high=item.high, log=item.log, step=step)
    elif isinstance(item, FloatDistribution):
        parameter = Parameter(name, FLOAT, item.low, low=item.low, high=item.high, log=item.log, step=item.step)
    else:
        raise TypeError(f"{name}: no parameter for a {type(item).__name__}")
    return Space((parameter,)).with_defaults({name: parameter.from_unit(0.5)})[name]
