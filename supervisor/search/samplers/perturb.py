"""Perturbation of the best known configuration: a few parameters, a little each (requirement A10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from supervisor.contract import Params, Scalar
from supervisor.search.samplers.distributions import Distributions, space_of
from supervisor.search.space import CATEGORICAL, FLOAT, Parameter, Space

if TYPE_CHECKING:
    from optuna.study import Study

MAGNITUDE = 0.15
FEWEST, MOST = 3, 5


class PerturbSampler(BaseSampler):
    """Changes 3 to 5 parameters of a configuration by up to `magnitude` of their value.

    The supervisor gives the incumbent as `base`; without it the sampler is one for any study and takes the best trial.
    A value of 0 changes by a share of its range. A change too small for the parameter's grid is one step of it.
    """

    def __init__(
        self,
        seed: int,
        base: Params | None = None,
        known: Distributions | None = None,
        magnitude: float = MAGNITUDE,
    ) -> None:
        self._rng = np.random.RandomState(seed)
        self._base = base
        self._known = known
        self._magnitude = magnitude
        self._space = IntersectionSearchSpace()
        self._random = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        self._rng.seed()
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        known = self._space.calculate(study) if self._known is None else self._known
        return {name: item for name, item in known.items() if not item.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        base = _best_params(study) if self._base is None else self._base
        if not search_space or base is None:
            return {}
        return dict(self._perturbed(space_of(search_space), base))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._raise_error_if_multi_objective(study)
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _perturbed(self, space: Space, base: Params) -> dict[str, Scalar]:
        values = space.fit(base)
        wanted = self._rng.randint(FEWEST, MOST + 1)
        chosen = self._rng.permutation(len(space.parameters))[: min(wanted, len(space.parameters))]
        for index in sorted(int(number) for number in chosen):
            parameter = space.parameters[index]
            values[parameter.name] = self._changed(parameter, values[parameter.name])
        return values

    def _changed(self, parameter: Parameter, value: Scalar) -> Scalar:
        if parameter.kind == CATEGORICAL:
            others = [choice for choice in parameter.choices if choice != value]
            return others[self._rng.randint(len(others))] if others else value
        old = float(value)
        reach = abs(old) if old else parameter.high - parameter.low
        moved = old + self._rng.uniform(-self._magnitude, self._magnitude) * reach
        new = parameter.from_unit(parameter.to_unit(min(max(moved, parameter.low), parameter.high)))
        if new == value and (parameter.step is not None or parameter.kind != FLOAT):
            step = parameter.step or 1.0
            far = old + step if moved >= old else old - step
            far = far if parameter.low <= far <= parameter.high else 2 * old - far
            new = parameter.from_unit(parameter.to_unit(far))
        return new


def _best_params(study: Study) -> Params | None:
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return None
    sign = 1.0 if study.direction is StudyDirection.MAXIMIZE else -1.0
    best = max(done, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))
    return best.params
