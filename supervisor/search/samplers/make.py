"""A sampler by its name, seeded and told all it may know; a new one for every proposal."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from supervisor.contract import Params
from supervisor.errors import ConfigurationError
from supervisor.search import spsa
from supervisor.search.samplers.cmaes import ReplayedCmaEsSampler
from supervisor.search.samplers.distributions import distributions
from supervisor.search.samplers.others import IndexedQmcSampler, ReplayedNsga2Sampler
from supervisor.search.samplers.perturb import PerturbSampler
from supervisor.search.samplers.spsa import SpsaSampler
from supervisor.search.space import Space

SEEDS = 2**32  # numpy's legacy generators take seeds below it


@dataclass(frozen=True)
class Recipe:
    """What a sampler is made of."""

    name: str
    space: Space
    seed: int  # of this proposal
    target_seed: int  # of the target, the same for all its proposals
    index: int  # proposals of the target before this one
    base: Params  # the incumbent's configuration
    magnitude: float  # of `perturb`
    note: spsa.Note | None = None  # of `spsa`: the side to play ...
    kept: Params | None = None  # ... and the categorical values of the pair's first side


def make(recipe: Recipe) -> BaseSampler:
    """The sampler. Raises ConfigurationError for a `module:Class` that cannot be had."""
    seed, known = recipe.seed % SEEDS, distributions(recipe.space)
    if ":" in recipe.name:
        return _custom(recipe.name, seed)
    if recipe.name == "spsa":
        return SpsaSampler(seed, note=recipe.note, known=known, kept=recipe.kept)
    if recipe.name == "perturb":
        return PerturbSampler(seed, base=recipe.base, known=known, magnitude=recipe.magnitude)
    if recipe.name == "cmaes":
        return ReplayedCmaEsSampler(seed, start=recipe.space.defaults(), known=known)
    if recipe.name == "qmc":
        return IndexedQmcSampler(recipe.target_seed % SEEDS, recipe.index, known)
    if recipe.name == "tpe":
        return TPESampler(seed=seed)
    if recipe.name == "nsga2":
        return ReplayedNsga2Sampler(seed=seed)
    if recipe.name == "random":
        return RandomSampler(seed=seed)
    raise ConfigurationError([f"search.sampler: {recipe.name!r} is not a sampler; see the list in the settings"])


def _custom(name: str, seed: int) -> BaseSampler:
    """A user's own sampler. It is made with seed=... and sees the target's lines as the study's finished trials."""
    module, _, attribute = name.partition(":")
    try:
        sampler = getattr(importlib.import_module(module), attribute)(seed=seed)
    except (ImportError, AttributeError, TypeError) as error:
        advice = "give module:Class of an Optuna BaseSampler that can be imported and takes seed="
        raise ConfigurationError([f"search.sampler: {name} cannot be made ({error}); {advice}"]) from error
    if not isinstance(sampler, BaseSampler):
        raise ConfigurationError([f"search.sampler: {name} is not an Optuna BaseSampler; derive it from one"])
    return sampler
