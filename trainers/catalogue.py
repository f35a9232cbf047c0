"""What each built-in model type is: what it sees, what it answers, under which names in the model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from supervisor.contract import Reason
from supervisor.errors import TrialError


@dataclass(frozen=True)
class ModelType:
    """Widths leave the batch out."""

    inputs: int
    outputs: int
    input_name: str
    output_name: str


CATALOGUE: Mapping[str, ModelType] = MappingProxyType(
    {"combat_dqn": ModelType(inputs=64, outputs=10, input_name="state", output_name="q_values")}
)


def model_type(name: str) -> ModelType:
    """Raises TrialError for a name the catalogue does not have."""
    if name not in CATALOGUE:
        raise TrialError(Reason.BUILD_FAILED, f"no built-in model type {name!r}; there are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
