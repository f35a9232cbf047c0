"""CMA-ES whose optimizer is replayed from the trials at every proposal, so that nothing of it is stored.

Source: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772; the update is the `cmaes` package's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from supervisor.contract import Params
from supervisor.search.samplers.distributions import Distributions, space_of
from supervisor.search.space import Space
from supervisor.search.spsa import numeric

if TYPE_CHECKING:
    import cmaes
    from optuna.study import Study

GENERATION_KEY = "cmaes:generation"
SIGMA = 0.1  # of the first generation, in the unit interval
RESAMPLING = 10  # draws per dimension before a point outside the cube is clipped


class ReplayedCmaEsSampler(BaseSampler):
    """Starts at `start`, the default configuration (without it, at the middle of the ranges).

    A trial carries the generation it was drawn in; of each, the first that completed are told, as many as a population
    has. Categorical parameters are drawn at random.
    """

    def __init__(
        self,
        seed: int,
        start: Params | None = None,
        known: Distributions | None = None,
        sigma: float = SIGMA,
    ) -> None:
        self._seed = seed
        self._start = start
        self._known = known
        self._sigma = sigma
        self._space = IntersectionSearchSpace()
        self._random = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        known = self._space.calculate(study) if self._known is None else self._known
        return {
            name: item
            for name, item in known.items()
            if not item.single() and not isinstance(item, CategoricalDistribution)
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        space = numeric(space_of(search_space))
        if len(space.parameters) < 2:  # there is no covariance of one dimension
            space = Space()
        values = {
            name: self.sample_independent(study, trial, name, item)
            for name, item in search_space.items()
            if name not in space
        }
        if not space.parameters:
            return values
        optimizer = self._replayed(study, space)
        optimizer.reseed_rng((self._seed + trial.number) % 2**32)
        drawn = optimizer.ask()
        study._storage.set_trial_system_attr(trial._trial_id, GENERATION_KEY, optimizer.generation)
        for item, unit in zip(space.parameters, drawn, strict=True):
            values[item.name] = item.from_unit(float(unit))
        return values

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._raise_error_if_multi_objective(study)
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _replayed(self, study: Study, space: Space) -> cmaes.CMA:
        size = len(space.parameters)
        start = space.defaults() if self._start is None else space.fit(self._start)
        import cmaes  # and with it scipy, a second of imports that other samplers do without

        optimizer = cmaes.CMA(
            mean=np.array([item.to_unit(start[item.name]) for item in space.parameters]),
            sigma=self._sigma,
            bounds=np.array([[0.0, 1.0]] * size),
            n_max_resampling=RESAMPLING * size,
            seed=0,  # every draw reseeds
        )
        sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0  # the package minimizes
        solutions = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            fits = all(item.name in trial.params for item in space.parameters)
            if trial.system_attrs.get(GENERATION_KEY) != optimizer.generation or not fits or trial.value is None:
                continue
            point = np.array([item.to_unit(trial.params[item.name]) for item in space.parameters])
            solutions.append((point, sign * trial.value))
            if len(solutions) == optimizer.population_size:
                optimizer.tell(solutions)
                solutions = []
        return optimizer
