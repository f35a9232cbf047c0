"""A training outside a trial: the learner of a task, ready to advance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.tasks import Trained
from trainers import weights
from trainers.catalogue import model_type
from trainers.learner import Case, Learner, ModelType, State
from trainers.models.team_coordination import TeamCoordination
from trainers.parameters import fields, group

TEAM = "team_coordination"


@dataclass(frozen=True)
class Training:
    """A model type, what it is trained for, and its learner at step 0."""

    kind: ModelType
    case: Case
    learner: Learner


def begin(task: Trained) -> Training:
    """Raises TrialError for parameters that the model type does not take."""
    archetype, name = task.target.split("/", 1)
    kind: ModelType = TeamCoordination(task.pack_size) if task.pack_size else model_type(name)
    rewards = group(task.params, "reward")
    args = fields(kind.args, kind.names, {key: value for key, value in task.params.items() if key not in rewards})
    case = Case(archetype, task.level, rewards)
    try:
        return Training(kind, case, kind.learner(case, args, task.steps, task.seed, _start(task)))
    except ValueError as error:
        raise TrialError(Reason.OUT_OF_RANGE, str(error)) from error


def _start(task: Trained) -> State | None:
    if task.start_sha256 is None:
        return None
    try:
        return weights.load_checked(Path(task.models) / f"{task.start_sha256}.pt", task.start_sha256)
    except ValueError as error:
        raise TrialError(Reason.UNKNOWN_VERSION, str(error)) from error
