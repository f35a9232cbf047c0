"""The committed calibration: measured in this arena, and true of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.seeds import derive_seed
from tests.support.arena_play import combat_scores
from trainers.arena import levels
from trainers.arena.fingerprint import fingerprint
from trainers.arena.rules import Floats, Ints
from trainers.arena.stats import ARCHETYPES
from trainers.networks.mlp import QNetwork

everyone = pytest.mark.parametrize("archetype", sorted(ARCHETYPES))


def test_the_levels_were_calibrated_in_this_arena() -> None:
    """A change of rules, observations or default rewards calls for `python tools/calibrate_arena.py`."""
    assert levels.calibrated_fingerprint() == fingerprint()


@everyone
def test_the_calibration_met_its_aims(archetype: str) -> None:
    row = levels.calibrations()[archetype]
    assert len(row.strength) == levels.LEVELS
    assert row.measured["untrained_level_1"] <= 0.20
    assert row.measured["default_level_1"] >= 0.60
    assert 0.40 <= row.measured["default_start"] <= 0.60
    assert levels.start_level(archetype) == row.start_level


@everyone
def test_a_search_starts_at_the_calibrated_level(archetype: str) -> None:
    key = f"{archetype}/combat_dqn"
    assert load_definitions([BUILT_IN], [key], "small")[key].level == levels.start_level(archetype)


def plain_layers(network: QNetwork) -> list[tuple[Floats, Floats]]:
    layers = [*network.hidden, network.advantage]
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]


def best(layers: list[tuple[Floats, Floats]], state: Floats) -> Ints:
    """The greedy action; numpy, because torch would take all cores for it."""
    for weight, bias in layers[:-1]:
        state = np.maximum(state @ weight.T + bias, 0)
    weight, bias = layers[-1]
    return (state @ weight.T + bias).argmax(1)


@everyone
def test_untrained_networks_win_at_most_a_fifth_at_level_1(archetype: str) -> None:
    """Measured anew, with networks and games other than the calibration's: each network has 32 rows of its own."""
    torch.manual_seed(100)
    networks = [plain_layers(QNetwork(64, (128, 128), 10)) for _ in range(16)]

    def policy(observation: Floats) -> Ints:
        return np.concatenate([best(*pair) for pair in zip(networks, np.split(observation, 16), strict=True)])

    first = derive_seed(0, "test of untrained networks", archetype, 1)
    assert combat_scores(policy, archetype, 1, first, 512, 512).mean() <= 0.2


@everyone
def test_a_higher_level_is_harder(archetype: str) -> None:
    """For one and the same simple fighter, from the first level to the last."""

    def fighter(observation: Floats) -> Ints:
        """Guards against what is about to land, else hits with what reaches."""
        about_to_land = (observation[:, 19] > 0) & (observation[:, 19] <= 0.5)
        near = observation[:, 45] > 0
        return np.where(about_to_land, 5, np.where(near, 1, 3)).astype(np.int64)

    rates = [combat_scores(fighter, archetype, level, 10**6, 256, 256).mean() for level in (1, 3, 5)]
    assert rates[0] >= rates[1] >= rates[2]
