from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from supervisor.contract import Params
from supervisor.errors import TrialError
from tests.support.arena_trials import default_params
from tests.support.learner_conformance import LearnerConformance, end_of
from tests.support.target_conformance import TargetConformance
from trainers.algorithms.spatial import Args, Drawing, SpatialImitation
from trainers.arena import levels
from trainers.arena_target import ArenaTarget
from trainers.learner import Case
from trainers.models import spatial_vit
from trainers.models.spatial_vit import SpatialVit
from trainers.networks.vit import Picture, VisionTransformer
from trainers.parameters import fields
from trainers.single import single_spec
from trainers.target import Control, TrialTarget

TARGET = "aggressive/spatial_vit"
TINY: Params = {
    "spatial.held": 1,
    "spatial.horizon": 2,
    "spatial.rows": 8,
    "spatial.ticks": 4,
    "spatial.kept": 64,
    "spatial.batch_size": 8,
    "spatial.accumulation": 2,
    "spatial.updates": 1,
    "spatial.layers": 1,
    "spatial.width": 6,
    "spatial.dropout": 0.1,
}
ROUND = 32


@pytest.fixture(scope="module", autouse=True)
def short_fights() -> Iterator[None]:
    """Few of them are rehearsed, and the foe makes short work of the learner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "strength", lambda *_: 20.0)
        patch.setattr(spatial_vit, "REHEARSED_FIGHTS", 16)
        yield


def tiny_args(**changes: object) -> Args:
    params = {name: value for name, value in default_params(TARGET).items() if not name.startswith("reward.")}
    return replace(fields(Args, SpatialVit.names, {**params, **TINY}), **changes)


def learner(args: Args, rounds: int = 12, seed: int = 1) -> SpatialImitation:
    return SpatialVit().learner(Case("aggressive", 5, {}), args, rounds * ROUND, seed, None)


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # it is off

    def make_learner(self, seed: int) -> SpatialImitation:
        return learner(tiny_args(), seed=seed)


class TestTarget(TargetConformance):
    params: ClassVar[Params] = {**default_params(TARGET), **TINY}

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        return ArenaTarget(single_spec(TARGET, 1, self.params, 12 * ROUND, 7), folder, control)


class Beacon:
    """A course with one answer: in which quarter of the map the light is. A sketch is its row and column."""

    rows, choices = 16, 4

    def __init__(self) -> None:
        self.t = 0

    @property
    def observation(self) -> np.ndarray:
        return np.random.default_rng(self.t).integers(0, 8, (self.rows, 2)).astype(np.float32)

    def script(self) -> np.ndarray:
        return np.zeros(self.rows, np.int64)

    def step(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.t += 1
        return np.zeros(self.rows, bool), np.zeros(self.rows, np.float32)

    def snapshot(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"light": self.observation[rows]}

    def returns(self, snapshots: list[dict[str, np.ndarray]]) -> np.ndarray:
        light = np.concatenate([part["light"] for part in snapshots])
        return np.eye(4, dtype=np.float32)[self.right(light)]

    @staticmethod
    def right(light: np.ndarray) -> np.ndarray:
        return (2 * (light[:, 0] >= 4) + (light[:, 1] >= 4)).astype(np.int64)

    @staticmethod
    def drawn(light: np.ndarray) -> np.ndarray:
        grid = np.zeros((len(light), 1, 8, 8), np.float32)
        grid[np.arange(len(light)), 0, light[:, 0].astype(int), light[:, 1].astype(int)] = 1
        return grid

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def load_state(self, saved: object) -> None: ...


def test_it_learns_to_go_by_the_map() -> None:
    args = tiny_args(rows=16, ticks=4, kept=4096, batch_size=32, updates=2, width=12, patch=4, label_share=1.0)
    args = replace(args, learning_rate=3e-3, learning_rate_factor=2.0, accumulation=1, temperature=0.3, dropout=0.0)
    course = Beacon()
    drawing = Drawing(Beacon.drawn, lambda sketch: np.zeros((len(sketch), 1), np.float32), 1, 8, 1)
    training = SpatialImitation(args, course, drawing, 100 * 64, 1)
    end_of(training)
    light = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2).astype(np.float32)
    with torch.no_grad():
        said = training.network(torch.from_numpy(Beacon.drawn(light)), torch.zeros(64, 1)).argmax(1).numpy()
    assert (said == Beacon.right(light)).mean() > 0.9


def test_patches_are_squares_of_the_map() -> None:
    """With one layer of zeros in place of attention, a patch's token depends on its own cells alone."""
    torch.manual_seed(0)
    network = VisionTransformer(Picture(2, 8, 4, 3), choices=4, width=6, layers=1, heads=2)
    grid = torch.zeros(1, 2, 8, 8, requires_grad=True)
    seen: list[torch.Tensor] = []
    network.patch.register_forward_hook(lambda module, given, patches: seen.append(patches))
    network(grid, torch.zeros(1, 3))
    seen[0][0, 1].sum().backward()
    touched = grid.grad[0].abs().sum(0) > 0
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:4, 4:] = True
    assert torch.equal(touched, expected)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_checkpointing_changes_no_bit_of_a_gradient(dropout: float) -> None:
    found = []
    for flag in (False, True):
        torch.manual_seed(0)
        network = VisionTransformer(Picture(2, 8, 4, 3), 4, 6, 2, 2, dropout, checkpointing=flag).train()
        network(torch.rand(5, 2, 8, 8), torch.rand(5, 3)).square().mean().backward()
        found.append([parameter.grad for parameter in network.parameters()])
    assert all(a is not None and torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_without_progress_it_ends_early() -> None:
    stuck = learner(tiny_args(learning_rate=1e-12, patience=2), rounds=40)
    end_of(stuck)
    assert 0 < stuck.steps_done < 40 * ROUND


def test_reward_weights_reach_the_weights() -> None:
    ends = []
    for weight in (2.0, 0.1):
        case = Case("aggressive", 1, {"reward.damage_taken": -weight})
        ends.append(end_of(SpatialVit().learner(case, tiny_args(horizon=6), 12 * ROUND, 1, None))[0])
    assert ends[0] != ends[1]


def test_numbers_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(TrialError, match="width 10 must be a multiple of heads 4"):
        tiny_args(width=10, heads=4)
    with pytest.raises(TrialError, match="patch 5 must divide the map's side, 24"):
        learner(tiny_args(patch=5))
