"""SPSA as an Optuna sampler. The mathematics lies in `supervisor.search.spsa`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from supervisor.contract import Params, as_json, parse
from supervisor.search import spsa
from supervisor.search.samplers.distributions import Distributions, space_of
from supervisor.search.space import Space

if TYPE_CHECKING:
    from optuna.study import Study

NOTE_KEY = "spsa:note"


class SpsaSampler(BaseSampler):
    """Plays pairs around theta; categorical parameters are TPE's.

    The supervisor gives the `note` of the side to play, planned from its log, and the `kept` categorical values of a
    pair's first side. Without a note the sampler is one for any study: it plans from the notes that it left on the
    study's trials. Its step sizes suit objectives that vary by some tenths, as win rates do.
    """

    def __init__(
        self,
        seed: int,
        note: spsa.Note | None = None,
        known: Distributions | None = None,
        kept: Params | None = None,
    ) -> None:
        self._seed = seed
        self._note = note
        self._known = known
        self._kept = dict(kept or {})
        self._space = IntersectionSearchSpace()
        self._categorical = TPESampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        known = self._space.calculate(study) if self._known is None else self._known
        return {name: item for name, item in known.items() if not item.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        space = spsa.numeric(space_of(search_space))
        values = self._choices(study, trial, {name: search_space[name] for name in search_space if name not in space})
        if not space.parameters:
            return values
        note = self._note
        if note is None:
            note = self._planned(study, trial, space)
            study._storage.set_trial_system_attr(trial._trial_id, NOTE_KEY, as_json(note))
        return {**values, **spsa.from_unit(space, spsa.side(note))}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._raise_error_if_multi_objective(study)
        return self._categorical.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._categorical.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._categorical.after_trial(study, trial, state, values)

    def _choices(self, study: Study, trial: FrozenTrial, choices: dict[str, BaseDistribution]) -> dict[str, Any]:
        open_ones = {name: item for name, item in choices.items() if name not in self._kept}
        drawn = self._categorical.sample_relative(study, trial, open_ones)
        for name, item in open_ones.items():
            if name not in drawn:  # while there are too few trials for a model
                drawn[name] = self._categorical.sample_independent(study, trial, name, item)
        return {**{name: self._kept[name] for name in choices if name in self._kept}, **drawn}

    def _planned(self, study: Study, trial: FrozenTrial, space: Space) -> spsa.Note:
        sign = 1.0 if study.direction is StudyDirection.MAXIMIZE else -1.0
        position, in_flight = spsa.Position(), []
        for other in study.get_trials(deepcopy=False):
            body = other.system_attrs.get(NOTE_KEY)
            if body is None or other.number >= trial.number:
                continue
            note = parse(spsa.Note, body)
            if not other.state.is_finished():
                in_flight.append(note)
                continue
            value = other.value if other.state is TrialState.COMPLETE else None
            position = spsa.advance(position, note, None if value is None else sign * value, 0, {})
        anchor = spsa.to_unit(space, space.defaults())
        return spsa.plan(position, in_flight, space, anchor, spsa.Draw(trial.number, None, self._seed + trial.number))
