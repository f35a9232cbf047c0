"""What the YAML files in `search_spaces/` may say. How they become targets is `definitions`' business."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from supervisor.config.fields import ParamValue, Positive, Section, Whole
from supervisor.contract import Scalar
from supervisor.search.space import CATEGORICAL, BadParameterError, Parameter

Frequency = Literal["high", "medium", "low"]
Contenders = Literal["screened", "confirmed"]
Figure = Literal["learning_rate", "exploration_noise"]
"""An archetype's figure is the default of the parameter `training.<figure>` of every model type that has one."""

KEY = r"^[A-Za-z0-9_-]+/[A-Za-z0-9_-]+$"
NAME = r"^[A-Za-z0-9_-]+$"
KIND = r"^(arena|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"
EXTERNAL_KIND = r"^(command|gymnasium|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"


class ParameterEntry(Section):
    """One searched parameter: a range, or choices."""

    type: Literal["float", "int", "categorical"] = "float"
    default: ParamValue | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: Annotated[tuple[ParamValue, ...], Field(strict=False)] = ()

    def parameter(self, name: str, default: Scalar) -> Parameter:
        """The parameter around this default. Raises BadParameterError naming every mistake."""
        categorical = self.type == CATEGORICAL
        strange = ("low", "high", "step", "log") if categorical else ("choices",)
        mistakes = [
            (key, f"a parameter of type {self.type} has none; remove it, or change type")
            for key in strange
            if key in self.model_fields_set
        ]
        if not categorical:
            mistakes += [(key, "missing; give the range") for key in ("low", "high") if getattr(self, key) is None]
        if mistakes:
            raise BadParameterError(name, mistakes)
        return Parameter(
            name=name,
            kind=self.type,
            default=default,
            low=self.low or 0.0,
            high=self.high or 0.0,
            log=self.log,
            step=self.step,
            choices=self.choices,
        )


class ScaleEntry(Section):
    """What a scale changes: budget, network, defaults."""

    steps: Positive
    wall_s: Annotated[float, Field(gt=0.0)]
    fixed: dict[str, ParamValue] = Field(default_factory=dict)
    defaults: dict[str, ParamValue] = Field(default_factory=dict)
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class Levels(Section):
    """The opponent's level at which the search starts, from calibration."""

    small: Whole = Field(default=1, ge=0)
    full: Whole = Field(default=1, ge=0)


class ArchetypeFile(Section):
    """`archetypes/<name>.yaml`: reward weights and training figures."""

    archetype: str = Field(pattern=NAME)
    level: Levels = Levels()
    training: dict[Figure, float] = Field(default_factory=dict)
    parameters: dict[str, ParameterEntry] = Field(default_factory=dict)


class ScalesEntry(Section):
    small: ScaleEntry
    full: ScaleEntry


class ModelFile(Section):
    """`models/<name>.yaml`: hyperparameters of one model type, crossed with every archetype."""

    model_type: str = Field(pattern=NAME)
    kind: str = Field(default="arena", pattern=KIND)
    frequency: Frequency = "medium"
    games_cheap: bool = False
    contenders: Contenders = "screened"
    levels: Annotated[Positive, Field(le=5)] | None = None
    """How many levels the opponent has: five in the arena; one where a trainer of the user's own knows none."""
    from_play: bool = False
    """Whether it can learn from experiences that others played, for the continuous cycle."""
    parameters: dict[str, ParameterEntry] = Field(default_factory=dict)
    fixed: dict[str, ParamValue] = Field(default_factory=dict)
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    scales: ScalesEntry


class ExternalFile(Section):
    """`external/<name>.yaml`: a target of the user's own, kind `command`, `gymnasium` or `module:Class`.

    A command's own keys (config_file, evaluate and so on) stand beside these; supervisor/external reads them.
    """

    target: str = Field(pattern=KEY)
    kind: str = Field(pattern=EXTERNAL_KIND)
    frequency: Frequency = "medium"
    games_cheap: bool = False
    """Whether a game costs so little that a winner may be measured over ten times as many."""
    contenders: Contenders | None = None
    """By default `screened` where a trial trains a model of Gymnasium's, else `confirmed`."""
    steps: Annotated[Whole, Field(ge=0)] = 0
    """What the trial's budget says; a command does not look at it."""
    wall_s: Annotated[float, Field(gt=0.0)] = 86400.0
    parameters: dict[str, ParameterEntry] = Field(min_length=1)
    fixed: dict[str, ParamValue] = Field(default_factory=dict)
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Handed to a `module:Class` as it stands."""
