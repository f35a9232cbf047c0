"""What a study holds in its database, trial by trial: Optuna itself would load all of them at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb.models import TrialModel, TrialParamModel, TrialUserAttributeModel, TrialValueModel
from optuna.trial import TrialState
from sqlalchemy import Engine, and_, select
from sqlalchemy.orm import aliased

from supervisor.search.projected import ITERATION_KEY, RUN_KEY

ROWS = 1000  # that are in memory at a time


class StoredTrial(NamedTuple):
    """`iteration` is None where the trial is not this run's."""

    trial_id: int
    iteration: int | None
    state: TrialState
    value: float | None


def stored_trials(engine: Engine, study_id: int, run_id: str) -> Iterator[StoredTrial]:
    """In order of trial number."""
    run, iteration = aliased(TrialUserAttributeModel), aliased(TrialUserAttributeModel)
    value = TrialValueModel
    query = (
        select(TrialModel.trial_id, TrialModel.state, run.value_json, iteration.value_json, value.value)
        .outerjoin(run, and_(run.trial_id == TrialModel.trial_id, run.key == RUN_KEY))
        .outerjoin(iteration, and_(iteration.trial_id == TrialModel.trial_id, iteration.key == ITERATION_KEY))
        .outerjoin(value, and_(value.trial_id == TrialModel.trial_id, value.objective == 0))
        .where(TrialModel.study_id == study_id)
        .order_by(TrialModel.trial_id)
    )
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=ROWS).execute(query)
        for trial_id, state, run_json, iteration_json, held in rows:
            number = json.loads(iteration_json) if iteration_json else None
            ours = run_json is not None and json.loads(run_json) == run_id and isinstance(number, int)
            yield StoredTrial(trial_id, number if ours else None, state, held)


def stored_distributions(engine: Engine, study_id: int) -> Iterator[tuple[str, BaseDistribution]]:
    """Every parameter's distributions, each once."""
    query = (
        select(TrialParamModel.param_name, TrialParamModel.distribution_json)
        .join(TrialModel, TrialModel.trial_id == TrialParamModel.trial_id)
        .where(TrialModel.study_id == study_id)
        .distinct()
    )
    with engine.connect() as connection:
        for name, text in connection.execute(query):
            yield name, json_to_distribution(text)
