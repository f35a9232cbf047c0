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
from supervisor.search.observation import Observation
from supervisor.search.samplers.cmaes import GENERATION_KEY as CMAES_GENERATION_KEY
from supervisor.search.samplers.distributions import distributions, on_grid
from supervisor.search.samplers.gp import GpProcess
from supervisor.search.samplers.make import Recipe, make
from supervisor.search.samplers.others import NSGA2_GENERATION_KEY
from supervisor.search.space import CATEGORICAL, SIGNIFICANT_DIGITS, Space

GENERATIONS = {"cmaes": CMAES_GENERATION_KEY, "nsga2": NSGA2_GENERATION_KEY}
WITHOUT_HISTORY = frozenset({"perturb", "random", "qmc"})
# How many of the newest lines TPE learns from, where there are so many, and how many more it takes in before its study
# is built anew without the oldest: in a run of months its time and memory would grow without end. Under spsa it draws
# the categorical parameters alone.
NEWEST = {"tpe": (1000, 500), "spsa": (400, 200)}


@dataclass(frozen=True)
class Draw:
    """A proposal to draw: the sampler's recipe and the lines it may learn from."""

    recipe: Recipe
    target: str
    objective: str
    history: Sequence[Observation] = ()


@dataclass(frozen=True)
class Drawn:
    """Values for the whole space, and the generation they were drawn in where the sampler has such."""

    params: dict[str, Scalar]
    generation: int | None = None


class HistoryStorage(InMemoryStorage):
    """Finished trials only: the one that is being proposed is taken out again, as if it had never been asked for."""

    def share(self, study_id: int, known: dict[str, BaseDistribution]) -> None:
        """Let the study's last trial have these distributions: a copy for each would be most of what a study takes."""
        with self._lock:
            self._studies[study_id].trials[-1]._distributions = known

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
    known: dict[str, BaseDistribution]
    lines: list[Observation]
    study: Study


@dataclass
class Studies:
    """Draws proposals. A study that grew with its lines proposes what one built from all of them would."""

    _gp: GpProcess = field(default_factory=GpProcess)
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # its "new study created" would fill the console

    def draw(self, ask: Draw) -> Drawn:
        known = distributions(ask.recipe.space)
        if not _may_learn(ask.recipe):
            self._kept.pop(ask.target, None)
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
        digest, history = ask.recipe.space.digest(), _taken(ask)
        kept = self._kept.get(ask.target)
        if kept is None or not _continues(kept, digest, ask.objective, history):
            kept = _Kept(digest, ask.objective, known, [], _new_study())
        for line in history[len(kept.lines) :]:
            trial = as_trial(line, ask.recipe.space, known, ask.objective)
            if trial is not None:
                kept.study.add_trial(trial)
                _storage(kept.study).share(kept.study._study_id, kept.known)
            kept.lines.append(line)
        self._kept[ask.target] = kept
        return kept.study


def _taken(ask: Draw) -> list[Observation]:
    """The lines that the study is built from. Where it begins depends on the newest line's number alone."""
    if ask.recipe.name not in NEWEST:
        return list(ask.history)
    newest, block = NEWEST[ask.recipe.name]
    lines = ask.history[-(newest + block) :]
    first = (lines[-1].trial + 1 - newest) // block * block if lines else 0
    return [line for line in lines if line.trial >= first]


def as_trial(line: Observation, space: Space, known: dict[str, BaseDistribution], objective: str) -> FrozenTrial | None:
    """The line as a finished trial. Parameters that are new since are taken at their default, which is what the target
    used; a line whose values have left the space says nothing about it: None."""
    held = line.params
    params: Params = {name: held.get(name, default) for name, default in space.defaults().items()}
    if space.problems(params):
        return None
    value = line.value(objective)
    attribute = GENERATIONS.get(line.sampler)
    return optuna.trial.create_trial(
        state=_state(line.status, value),
        value=value,
        params=on_grid(space, params),
        distributions=known,
        system_attrs={attribute: line.generation} if attribute and line.generation is not None else {},
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


def _continues(kept: _Kept, digest: str, objective: str, history: list[Observation]) -> bool:
    """Whether the study holds the first lines of this history. Lines are read once, so the same ones are identical."""
    if (kept.digest, kept.objective) != (digest, objective) or len(kept.lines) > len(history):
        return False
    return all(old is new for old, new in zip(kept.lines, history, strict=False))


def _may_learn(recipe: Recipe) -> bool:
    """Whether any of this sampler's proposals is drawn from history."""
    if recipe.name == "spsa":
        return any(item.kind == CATEGORICAL for item in recipe.space.parameters)
    return recipe.name not in WITHOUT_HISTORY


def _learns(recipe: Recipe) -> bool:
    """Whether this proposal is: the second side of a pair has the categorical values of the first."""
    return _may_learn(recipe) and recipe.kept is None


def _new_study() -> Study:
    return optuna.create_study(storage=HistoryStorage(), direction="maximize")


def _storage(study: Study) -> HistoryStorage:
    storage = study._storage
    assert isinstance(storage, HistoryStorage)
    return storage
