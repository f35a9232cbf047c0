"""What became of a target's definition between two starts, in words: pure functions of what `run.json` remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from supervisor.contract import Json
from supervisor.search.space import CATEGORICAL, Parameter
from supervisor.search.target import TargetDefinition

PARAMETERS, FIXED = "parameters", "fixed"
RANGE, CHOICES, DEFAULT = "range", "choices", "default"


def description_of(target: TargetDefinition) -> dict[str, Json]:
    """Everything that `TargetDefinition.digest` covers, small, and readable by `differences` and people."""
    parameters: dict[str, Json] = {
        item.name: _description(item, moving=item.name in target.moving_defaults) for item in target.space.parameters
    }
    found: dict[str, Json] = {
        PARAMETERS: parameters,
        FIXED: dict(target.fixed),
        "kind": target.kind,
        "frequency": target.frequency,
        "steps": target.steps,
        "contenders": target.contenders,
        "games_cheap": target.games_cheap,
        "scale": target.scale,
        "level": target.level,
        "levels": target.levels,
    }
    return {**found, **{f"settings.{name}": value for name, value in target.as_written.items()}}


def _description(parameter: Parameter, moving: bool) -> Json:
    found: dict[str, Json] = {"type": parameter.kind}
    if parameter.kind == CATEGORICAL:
        found[CHOICES] = list(parameter.choices)
    else:
        found[RANGE] = [parameter.low, parameter.high]
        if parameter.log:
            found["log"] = True
        if parameter.step is not None:
            found["step"] = parameter.step
    return found if moving else {**found, DEFAULT: parameter.default}


def differences(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    """A few words on each thing that differs, parameters first."""
    found = []
    for part, words in ((PARAMETERS, _of_parameters), (FIXED, _of_values)):
        old, new = _mapping(before.get(part)), _mapping(now.get(part))
        found += [
            f"{name}: {words(old.get(name), new.get(name))}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
    rest = sorted((before.keys() | now.keys()) - {PARAMETERS, FIXED})
    return found + [
        f"{name}: {_of_values(before.get(name), now.get(name))}" for name in rest if before.get(name) != now.get(name)
    ]


def _of_parameters(before: Json, now: Json) -> str:
    if before is None:
        return f"is searched too ({_listed(_mapping(now))})"
    if now is None:
        return "is no longer searched"
    old, new = _mapping(before), _mapping(now)
    return ", ".join(
        f"{name} {_shown(name, old.get(name))} -> {_shown(name, new.get(name))}"
        for name in ("type", RANGE, "log", "step", CHOICES, DEFAULT)
        if old.get(name) != new.get(name)
    )


def _of_values(before: Json, now: Json) -> str:
    return f"{_shown('', before)} -> {_shown('', now)}"


def _listed(parameter: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {_shown(name, value)}" for name, value in parameter.items())


def _shown(name: str, value: Json) -> str:
    if value is None:
        return "none"
    if name == RANGE and isinstance(value, list):
        return "..".join(_shown("", bound) for bound in value)
    if name == CHOICES and isinstance(value, list):
        return ", ".join(_shown("", choice) for choice in value)
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
