"""Kind `gymnasium`: any environment of Gymnasium by its id. Needs the extra: pip install incumbent[gymnasium]."""

from __future__ import annotations

from pathlib import Path

from supervisor.contract import Reason, TrialSpec
from supervisor.errors import TrialError
from trainers.arena_target import ArenaTarget
from trainers.learner import ModelType
from trainers.target import Control


class GymnasiumTarget(ArenaTarget):
    """A TrialTarget whose games are episodes."""

    block_games = 16

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control, _type_of(spec))


def _type_of(spec: TrialSpec) -> ModelType:
    try:
        import gymnasium  # noqa: F401 - only to say where it comes from if it is not there
    except ImportError as error:
        raise TrialError(
            Reason.BUILD_FAILED, "kind gymnasium needs the package: .venv/bin/pip install gymnasium"
        ) from error
    from trainers.gymnasium_type import GymnasiumType

    return GymnasiumType(spec.settings)
