"""Search spaces: ranges, grids, and the unit interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import Scalar
from supervisor.search.space import BadParameterError, Parameter, Space

LR = Parameter("lr", "float", 1e-3, 1e-5, 1e-1, log=True)
LAYERS = Parameter("layers", "int", 3, 1, 6)
MODE = Parameter("mode", "categorical", "b", choices=("a", "b", "c"))
FLAG = Parameter("flag", "categorical", True, choices=(True, False, 1, 0))
GRID = Parameter("grid", "float", 0.5, 0.0, 1.2, step=0.25)  # the grid does not meet high
SPACE = Space((MODE, LR, LAYERS, GRID, FLAG))

bounds = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@st.composite
def parameters(draw: st.DrawFn) -> Parameter:
    kind = draw(st.sampled_from(["float", "int", "log", "log_int", "step", "categorical"]))
    if kind == "categorical":
        choices = draw(st.lists(st.text(max_size=3), min_size=1, max_size=6, unique=True))
        return Parameter("p", kind, choices[0], choices=tuple(choices))
    whole = kind.endswith("int")
    low = draw(st.integers(1, 10**6)) if kind.startswith("log") or whole else draw(bounds)
    high = low + draw(st.integers(1, 10**6))
    if kind == "step":
        return Parameter("p", "float", low, low, high, step=(high - low) / draw(st.integers(1, 50)))
    return Parameter("p", "int" if whole else "float", low, low, high, log=kind.startswith("log"))


@given(parameters(), st.floats(-0.5, 1.5))
def test_every_place_of_the_unit_interval_is_a_value_that_fits(parameter: Parameter, unit: float) -> None:
    value = parameter.from_unit(unit)
    assert parameter.problem(value) is None
    assert type(value) is type(parameter.default)
    assert 0.0 <= parameter.to_unit(value) <= 1.0


@given(parameters(), st.floats(0, 1))
def test_a_value_goes_to_the_unit_interval_and_comes_back(parameter: Parameter, unit: float) -> None:
    value = parameter.from_unit(unit)
    back = parameter.from_unit(parameter.to_unit(value))
    if isinstance(value, float) and isinstance(back, float):
        assert back == pytest.approx(value, rel=1e-8, abs=1e-8 * (parameter.high - parameter.low))
    else:
        assert back == value


@given(parameters(), st.floats(0, 1), st.floats(0, 1))
def test_numbers_keep_their_order_on_the_unit_interval(parameter: Parameter, one: float, two: float) -> None:
    if parameter.kind != "categorical":
        low, high = sorted((one, two))
        assert float(parameter.from_unit(low)) <= float(parameter.from_unit(high))


def test_a_logarithmic_range_has_its_geometric_mean_in_the_middle() -> None:
    assert LR.from_unit(0.5) == 1e-3
    assert LR.to_unit(1e-3) == pytest.approx(0.5)


def test_a_grid_is_counted_from_low_and_does_not_leave_the_range() -> None:
    assert [GRID.from_unit(unit) for unit in (0, 0.3, 0.6, 1.0)] == [0.0, 0.25, 0.75, 1.0]


def test_choices_share_the_unit_interval_evenly() -> None:
    assert [MODE.from_unit(unit) for unit in (0, 0.32, 0.34, 0.66, 0.67, 1)] == ["a", "a", "b", "b", "c", "c"]
    with pytest.raises(ValueError, match="not a choice"):
        MODE.to_unit("z")


def test_true_is_not_one() -> None:
    assert FLAG.to_unit(True) != FLAG.to_unit(1)
    assert FLAG.fit(1) is not True
    assert LAYERS.problem(True) is not None


def test_a_space_is_in_order_of_name_whatever_order_it_was_given_in() -> None:
    assert SPACE.names == ("flag", "grid", "layers", "lr", "mode")
    assert Space(tuple(reversed(SPACE.parameters))) == SPACE
    assert list(SPACE.defaults()) == list(SPACE.names)


def test_every_problem_of_a_configuration_is_named() -> None:
    params = {"lr": 1.0, "layers": 2.5, "mode": "z", "flag": "yes", "stranger": 1}
    found = SPACE.problems(params)
    assert [problem.split(":")[0] for problem in found] == ["grid", "flag", "layers", "lr", "mode", "stranger"]
    assert all(";" in problem for problem in found)
    assert SPACE.problems(SPACE.defaults()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.1", True])
def test_what_is_no_finite_number_never_fits_a_range(value: Scalar) -> None:
    assert LR.problem(value) is not None
    assert LR.fit(value) == LR.default


scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=4))


@given(st.dictionaries(st.sampled_from([*SPACE.names, "other"]), scalars))
def test_whatever_is_fitted_is_complete_and_fits(params: dict[str, Scalar]) -> None:
    fitted = SPACE.fit(params)
    assert SPACE.problems(fitted) == []
    assert SPACE.fit(fitted) == fitted


def test_fitting_keeps_what_fits_and_clips_what_does_not() -> None:
    fitted = SPACE.fit({"lr": 5e-3, "layers": 99, "mode": "gone", "stranger": 1})
    assert fitted == {"flag": True, "grid": 0.5, "layers": 6, "lr": 5e-3, "mode": "b"}


@pytest.mark.parametrize(
    ("kind", "default", "low", "high", "log", "step", "choices", "fields"),
    [
        ("decimal", 1, 0, 2, False, None, (), ["type"]),
        ("float", 1, 2, 2, False, None, (), ["high"]),
        ("float", 1, 0, math.inf, False, None, (), ["high"]),
        ("float", 3, 0, 2, False, None, (), ["default"]),
        ("float", "x", 0, 2, False, None, (), ["default"]),
        ("float", 1, 0, 2, True, None, (), ["log"]),
        ("float", 1, 0, 2, False, 3, (), ["step"]),
        ("float", 1, 0.5, 2, True, 0.5, (), ["step"]),
        ("int", 1, 0.5, 2, False, None, (), ["low"]),
        ("int", 1.5, 0, 2, False, None, (), ["default"]),
        ("int", 9, 0.5, 2, True, 7, (), ["default", "step", "step", "low"]),
        ("categorical", 1, 0, 0, False, None, (), ["choices"]),
        ("categorical", 1, 0, 0, False, None, (1, 1.0), ["choices"]),
        ("categorical", 1, 0, 0, False, None, (True, 2), ["default"]),
    ],
)
def test_a_parameter_that_makes_no_sense_names_every_wrong_field(
    kind: str,
    default: Scalar,
    low: float,
    high: float,
    log: bool,
    step: float | None,
    choices: tuple[Scalar, ...],
    fields: list[str],
) -> None:
    with pytest.raises(BadParameterError) as caught:
        Parameter("p", kind, default, low, high, log, step, choices)
    assert [field for field, _ in caught.value.mistakes] == fields


def test_a_name_may_stand_in_a_space_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Space((LR, LR))


def test_the_digest_follows_names_and_ranges_and_not_defaults() -> None:
    assert SPACE.digest() == Space(tuple(reversed(SPACE.parameters))).digest()
    assert SPACE.with_defaults({"lr": 0.01}).digest() == SPACE.digest()
    assert Space((LR,)).digest() != Space((Parameter("lr", "float", 1e-3, 1e-5, 1e-1),)).digest()


def test_new_defaults_are_taken_in_the_parameters_own_type_or_refused() -> None:
    space = SPACE.with_defaults({"layers": 4.0, "grid": 1, "mode": "c", "stranger": 1})
    assert space.defaults() == {**SPACE.defaults(), "layers": 4, "grid": 1.0, "mode": "c"}
    assert isinstance(space["layers"].default, int)
    assert isinstance(space["grid"].default, float)
    with pytest.raises(BadParameterError):
        SPACE.with_defaults({"layers": 4.5})
