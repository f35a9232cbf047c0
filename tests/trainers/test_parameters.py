from __future__ import annotations

from dataclasses import dataclass

import pytest

from supervisor.errors import TrialError
from trainers.parameters import fields, group


@dataclass(frozen=True)
class Few:
    rate: float
    count: int
    flag: bool
    name: str


NAMES = {"rate": "g.rate", "count": "g.count", "flag": "g.flag", "name": "h.name"}
GOOD = {"g.rate": 0.5, "g.count": 3, "g.flag": True, "h.name": "x"}


def problem(params: dict) -> str:
    with pytest.raises(TrialError) as caught:
        fields(Few, NAMES, params)
    assert caught.value.reason == "out_of_range"
    return caught.value.detail


def test_dotted_names_become_fields() -> None:
    assert fields(Few, NAMES, GOOD) == Few(0.5, 3, True, "x")


def test_a_whole_float_is_an_int_and_an_int_is_a_float() -> None:
    made = fields(Few, NAMES, {**GOOD, "g.rate": 1, "g.count": 3.0})
    assert (made.rate, made.count) == (1.0, 3)
    assert (type(made.rate), type(made.count)) == (float, int)


def test_every_missing_and_every_unknown_name_is_said_at_once() -> None:
    said = problem({"g.rate": 0.5, "g.flag": True, "g.tpyo": 1, "z": 2})
    assert said == "parameters: g.count is missing; h.name is missing; g.tpyo is unknown; z is unknown"


@pytest.mark.parametrize(
    ("name", "value"),
    [("g.rate", "0.5"), ("g.rate", True), ("g.count", 2.5), ("g.count", True), ("g.flag", 1), ("h.name", 4)],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name: str, value: object) -> None:
    assert f"{name} is {value!r}" in problem({**GOOD, name: value})


def test_a_group_is_found_by_its_whole_first_word() -> None:
    assert group({"reward.kills": 1.0, "rewards.x": 2.0, "dqn.reward": 3.0}, "reward") == {"reward.kills": 1.0}
