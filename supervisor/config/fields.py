"""What the sections of the settings are made of: kinds of values, and the marks that a field may carry.

A field marked `decides` changes results and is covered by a run's identity; one marked `secret` is never shown.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr
from pydantic_core import PydanticCustomError

from supervisor.config.token import clean_token
from supervisor.contract import Json, Scalar

DEVICES = ("auto", "cpu")  # and cuda:N
SAMPLERS = ("spsa", "perturb", "tpe", "cmaes", "gp", "random", "qmc", "nsga2")


def whole(value: object) -> object:
    """1e5 is a number without a fraction: a whole number as good as 100000."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _scalar(value: object) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite_number", "not finite")
    if isinstance(value, bool | int | float | str):
        return value
    raise PydanticCustomError("scalar", "a parameter's value is a number, true, false or text")


def a_token(value: SecretStr) -> SecretStr:
    try:
        return SecretStr(clean_token(value.get_secret_value()))
    except ValueError as error:
        raise PydanticCustomError("token", "{problem}", {"problem": str(error)}) from None


def _sampler(value: str) -> str:
    module, colon, name = value.partition(":")
    if value in SAMPLERS or (colon and module and name.isidentifier()):
        return value
    raise PydanticCustomError("sampler", "no such sampler", {"choices": [*SAMPLERS, "module:Class"]})


def is_device(value: str) -> bool:
    return value in DEVICES or re.fullmatch(r"cuda:(0|[1-9]\d?)", value) is not None


def _device(value: str) -> str:
    if is_device(value):
        return value
    raise PydanticCustomError("device", "no such device", {"choices": [*DEVICES, "cuda:0", "cuda:1"]})


Whole = Annotated[int, BeforeValidator(whole)]
Positive = Annotated[int, BeforeValidator(whole), Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]
FilePath = Annotated[Path, Field(strict=False)]
SamplerName = Annotated[str, AfterValidator(_sampler)]
DeviceName = Annotated[str, AfterValidator(_device)]
ParamValue = Annotated[Scalar, PlainValidator(_scalar)]

DECIDES: dict[str, Json] = {"decides": True}
SECRET: dict[str, Json] = {"secret": True}


class Section(BaseModel):
    """Strict: unknown keys are errors, text is no number, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
