"""Every sampler passes the test classes that Optuna publishes for authors of samplers.

The class for relative sampling holds where every parameter is sampled relatively from the second trial on.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from supervisor.search.samplers.cmaes import ReplayedCmaEsSampler
from supervisor.search.samplers.make import Recipe, make
from supervisor.search.samplers.others import IndexedQmcSampler, ReplayedNsga2Sampler
from supervisor.search.samplers.perturb import PerturbSampler
from supervisor.search.samplers.spsa import SpsaSampler
from supervisor.search.space import Space

Factory = Callable[[], BaseSampler]


def by_name(name: str) -> Factory:
    return lambda: make(Recipe(name, Space(), seed=1, target_seed=1, index=0, base={}, magnitude=0.15))


class TestSpsaSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return lambda: SpsaSampler(seed=1)


class TestPerturbSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return lambda: PerturbSampler(seed=1)


class TestReplayedCmaEsSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return lambda: ReplayedCmaEsSampler(seed=1)


class TestIndexedQmcSampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return lambda: IndexedQmcSampler(seed=1)


class TestReplayedNsga2Sampler(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return lambda: ReplayedNsga2Sampler(seed=1, population_size=4)


class TestRandomByName(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return by_name("random")


class TestTpeByName(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Factory:
        return by_name("tpe")
