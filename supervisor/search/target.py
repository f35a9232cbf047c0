"""One target as the supervisor knows it: what is searched, what it costs, what its trial process is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.contract import Json, Params, Scalar
from supervisor.search.space import Space, is_number


@dataclass(frozen=True)
class TargetDefinition:
    """A target put together from the search-space files and the settings."""

    key: str  # archetype/model_type, or group/name
    kind: str  # arena | command | module:Class
    space: Space
    frequency: str  # high | medium | low
    steps: int  # of a trial; 0 where the kind has none
    wall_s: float  # net against hangs
    contenders: str  # screened | confirmed: what suits this kind of target
    games_cheap: bool  # a winner may be measured over ten times as many games
    scale: str  # small | full
    level: int = 1  # of the opponent at the start
    levels: int = 1  # how many the opponent has
    from_play: bool = False  # whether it can learn from experiences that others played
    device: str = "auto"  # what its trials are to compute on: not in `digest`, as the machine is not
    fixed: Params = field(default_factory=dict)  # parameters that are not searched
    settings: Mapping[str, Json] = field(default_factory=dict)  # for the trial process; paths are absolute here
    moving_defaults: tuple[str, ...] = ()  # read from the user's file, where a winner is written: not in `digest`
    as_written: Mapping[str, Json] = field(default_factory=dict)  # the same as its file has it, for `digest`

    @property
    def archetype(self) -> str:
        return self.key.split("/", 1)[0]

    @property
    def model_type(self) -> str:
        return self.key.split("/", 1)[1]

    def defaults(self) -> dict[str, Scalar]:
        """The complete configuration a target starts from: the space's defaults and what is fixed."""
        return {**self.fixed, **self.space.defaults()}

    def problems(self, params: Params) -> list[str]:
        """What keeps `params` from being a complete configuration of this target, `name: what; what to do` each."""
        searched = {name: value for name, value in params.items() if name not in self.fixed}
        return self.space.problems(searched)

    def problem(self, name: str, value: Scalar) -> str | None:
        """What is wrong with a value of one parameter, searched or fixed, and what to do; None when it fits."""
        if name in self.space:
            return self.space[name].problem(value)
        fixed = self.fixed[name]
        if type(value) is type(fixed) or (is_number(value) and is_number(fixed) and not isinstance(fixed, int)):
            return None
        return f"{value!r} does not fit; give a value like {fixed!r}"

    def misfits(self, params: Params) -> dict[str, str]:
        """What is wrong with each of these values that this target does not admit; strangers are left out."""
        known = {name: value for name, value in params.items() if name in self.space or name in self.fixed}
        found = {name: self.problem(name, value) for name, value in known.items()}
        return {name: problem for name, problem in found.items() if problem is not None}

    def nearest(self, params: Params) -> dict[str, Scalar]:
        """`params` with what does not fit made to fit, and all else as it is."""
        wrong = self.misfits(params)
        return {
            name: params.get(name, value) if name not in wrong else value
            for name, value in self.complete(params).items()
        }

    def complete(self, params: Params) -> dict[str, Scalar]:
        """`params` made to fit: fixed values from here, searched ones clipped, filled or dropped."""
        return {**self.fixed, **self.space.fit(params)}

    def digest(self) -> str:
        """sha256 over everything here that decides results; where the files lie is left out."""
        body = {
            "key": self.key,
            "kind": self.kind,
            "space": self.space.digest(),
            "defaults": {
                name: value for name, value in self.space.defaults().items() if name not in self.moving_defaults
            },
            "frequency": self.frequency,
            "steps": self.steps,
            "contenders": self.contenders,
            "games_cheap": self.games_cheap,
            "scale": self.scale,
            "level": self.level,
            "levels": self.levels,
            "fixed": dict(self.fixed),
            "as_written": dict(self.as_written),
        }
        return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
