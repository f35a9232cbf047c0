"""Optuna's samplers where a proposal must be a function of the history: what they keep elsewhere is made again."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import NSGAIISampler, QMCSampler
from optuna.trial import FrozenTrial

from supervisor.search.samplers.distributions import Distributions

if TYPE_CHECKING:
    from optuna.study import Study


class IndexedQmcSampler(QMCSampler):
    """Takes the point `index` of a scrambled Sobol sequence over `known`, instead of counting in the study.

    Without them it is a sampler for any study, and counts.
    """

    def __init__(self, seed: int, index: int | None = None, known: Distributions | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False)
        self._index = index
        self._known = known

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._known is None:
            return super().infer_relative_search_space(study, trial)
        return {name: item for name, item in sorted(self._known.items()) if not item.single()}

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        return super()._find_sample_id(study, search_space) if self._index is None else self._index


class ReplayedNsga2Sampler(NSGAIISampler):
    """Chooses the parents of every generation anew, in order: the study's own cache of them is lost with the study.

    Asked from the last generation down, Optuna would recurse once per generation.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        for generation in range(1, self.get_trial_generation(study, trial)):
            self.get_parent_population(study, generation)
        return super().sample_relative(study, trial, search_space)


NSGA2_GENERATION_KEY = ReplayedNsga2Sampler._get_generation_key()
