"""A target's lines as an Optuna study in memory, and a proposal drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from supervisor.contract import Params, Scalar, Status
from supervisor.record import Record
from supervisor.search.fold import value_of
from supervisor.search.samplers.cmaes import GENERATION_KEY as CMAES_GENERATION_KEY
from supervisor.search.samplers.distributions import distributions, on_grid
from supervisor.search.samplers.gp import GpProcess
from supervisor.search.samplers.make import Recipe, make
from supervisor.search.samplers.others import NSGA2_GENERATION_KEY
from supervisor.search.space import CATEGORICAL, SIGNIFICANT_DIGITS, Space

GENERATION_KEY = "generation"  # in a line's `search`, of the samplers that draw in generations
GENERATIONS = {"cmaes": CMAES_GENERATION_KEY, "nsga2": NSGA2_GENERATION_KEY}
WITHOUT_HISTORY = frozenset({"perturb", "random", "qmc"})


@dataclass(frozen=True)
class Draw:
    """A proposal to draw: the sampler's recipe and the lines it may learn from."""

    recipe: Recipe
    target: str
    objective: str
    history: Sequence[Record] = ()


@dataclass(frozen=True)
class Drawn:
    """Values for the whole space, and the generation they were drawn in where the sampler has such."""

    params: dict[str, Scalar]
    generation: int | None = None


class HistoryStorage(InMemoryStorage):
    """Finished trials only: the one that is being proposed is taken out again, as if it had never been asked for."""

    def withdraw(self, study_id: int) -> None:
        """Remove the study's last trial, which runs, and every attribute that samplers left on the study."""
        with self._lock:
            study = self._studies[study_id]
            last = study.trials.pop()
            assert last.state is TrialState.RUNNING
            del self._trial_id_to_study_id_and_number[last._trial_id]
            study.system_attrs = {}


@dataclass
class _Kept:
    """A study as far as it has been built, and what it was built from."""

    digest: str
    objective: str
    records: list[Record]
    study: Study


@dataclass
class Studies:
    """Draws proposals. A study that grew with its lines proposes what one built from all of them would."""

    _kept: dict[str, _Kept] = field(default_factory=dict)
    _gp: GpProcess = field(default_factory=GpProcess)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # its "new study created" would fill the console

    def draw(self, ask: Draw) -> Drawn:
        known = distributions(ask.recipe.space)
        study = self._study(ask, known) if _learns(ask.recipe) else _new_study()
        if ask.recipe.name == "gp":
            params = self._gp.draw(study.get_trials(deepcopy=False), known, ask.recipe.seed)
            return Drawn(readable(ask.recipe.space, params))
        study.sampler = make(ask.recipe)
        try:
            trial = study.ask(known)
            drawn = _storage(study).get_trial(trial._trial_id)
        finally:
            _storage(study).withdraw(study._study_id)
        attribute = GENERATIONS.get(ask.recipe.name)
        return Drawn(readable(ask.recipe.space, drawn.params), drawn.system_attrs.get(attribute) if attribute else None)

    def close(self) -> None:
        self._gp.close()

    def _study(self, ask: Draw, known: dict[str, BaseDistribution]) -> Study:
        digest, history = ask.recipe.space.digest(), list(ask.history)
        kept = self._kept.get(ask.target)
        if kept is None or not _continues(kept, digest, ask.objective, history):
            kept = _Kept(digest, ask.objective, [], _new_study())
        for record in history[len(kept.records) :]:
            trial = as_trial(record, ask.recipe.space, known, ask.objective)
            if trial is not None:
                kept.study.add_trial(trial)
            kept.records.append(record)
        self._kept[ask.target] = kept
        return kept.study


def as_trial(record: Record, space: Space, known: dict[str, BaseDistribution], objective: str) -> FrozenTrial | None:
    """The line as a finished trial. Parameters that are new since are taken at their default, which is what the target
    used; a line whose values have left the space says nothing about it: None."""
    params: Params = {name: record.params.get(name, default) for name, default in space.defaults().items()}
    if space.problems(params):
        return None
    value = value_of(record, objective)
    generation = record.search.get(GENERATION_KEY)
    attribute = GENERATIONS.get(record.sampler)
    return optuna.trial.create_trial(
        state=_state(record.status, value),
        value=value,
        params=on_grid(space, params),
        distributions=known,
        system_attrs={attribute: generation} if attribute and generation is not None else {},
    )


def readable(space: Space, params: Params) -> dict[str, Scalar]:
    """Floats with the digits that matter: they stand in logs and in users' files."""
    digits = SIGNIFICANT_DIGITS
    short = {
        name: float(f"{value:.{digits}g}") if isinstance(value, float) else value for name, value in params.items()
    }
    return space.fit(short)


def _state(status: Status, value: float | None) -> TrialState:
    if status is Status.PRUNED:
        return TrialState.PRUNED
    return TrialState.FAIL if value is None else TrialState.COMPLETE


def _continues(kept: _Kept, digest: str, objective: str, history: list[Record]) -> bool:
    """Whether the study holds the first lines of this history. Lines are read once, so the same ones are identical."""
    if (kept.digest, kept.objective) != (digest, objective) or len(kept.records) > len(history):
        return False
    return all(old is new for old, new in zip(kept.records, history, strict=False))


def _learns(recipe: Recipe) -> bool:
    if recipe.name == "spsa":
        return recipe.kept is None and any(item.kind == CATEGORICAL for item in recipe.space.parameters)
    return recipe.name not in WITHOUT_HISTORY


def _new_study() -> Study:
    return optuna.create_study(storage=HistoryStorage(), direction="maximize")


def _storage(study: Study) -> HistoryStorage:
    storage = study._storage
    assert isinstance(storage, HistoryStorage)
    return storage
