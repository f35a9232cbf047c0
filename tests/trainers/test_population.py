"""Candidates trained as one batch: each one's training is the same bits as alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from supervisor.contract import Reason
from supervisor.journal import durable
from tests.support.learner_conformance import End, end_of, saved
from trainers import weights
from trainers.algorithms.defaults import DqnArgs
from trainers.algorithms.dqn import DoubleDQN
from trainers.algorithms.population import Population
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH, Arena
from trainers.networks.mlp import QModel

ROWS, STEPS = 32, 24
SMALL = DqnArgs(batch_size=32, hidden="32,16", replay_rows=12, learning_starts=5, updates=2, exploration_fraction=0.5)
SHAPES = {
    "plain": SMALL,
    "odd": replace(SMALL, hidden="33,17", batch_size=30),
    "dueling and dropout": replace(SMALL, dueling=True, dropout=0.2),
    "in parts": replace(SMALL, accumulation=2),
    "wide": replace(SMALL, hidden="128,128", batch_size=128, updates=1),
}


class OneByOne(QModel):
    """A network whose layers nobody stacks."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(OBSERVATION_WIDTH, 20)
        self.last = torch.nn.Linear(20, ACTION_COUNT)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.layer(seen))
        return self.last(torch.dropout(hidden, 0.2, self.training))


def candidate(k: int, args: DqnArgs = SMALL, steps: int = STEPS, network: type[QModel] | None = None) -> DoubleDQN:
    """Number k: all that candidates may have of their own is its own."""
    own = replace(
        args,
        learning_rate=3e-4 * (k + 1),
        learning_rate_end=0.1 * k,
        weight_decay=1e-3 * k,
        gradient_clip=0.1 + k,
        gamma=0.9 + 0.01 * k,
        n_step=1 + k % 3,
        priority_alpha=0.1 * k,
        priority_beta=0.3 + 0.05 * k,
        exploration_noise=0.03 * k,
        target_interval=3 + k,
        double=k % 2 == 1,
    )
    arena = Arena(ROWS, "aggressive", 1, {"damage_dealt": 0.02 * k, "kills": 1.0, "deaths": -0.1 * k})
    arena.start(np.arange(1000 * k, 1000 * k + ROWS, dtype=np.uint64))
    return DoubleDQN(own, arena, steps * ROWS, 50 + k, OBSERVATION_WIDTH, ACTION_COUNT, network=network)


def run(population: Population) -> Population:
    while not population.finished:
        population.advance()
    return population


def end_in(population: Population, slot: int) -> End:
    """As it was left; `end_of` advances nothing that is finished."""
    assert population.slot(slot).finished
    return end_of(population.slot(slot))


@cache
def alone(k: int, shape: str = "plain") -> End:
    return end_of(candidate(k, SHAPES[shape]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("who", [[2, 3], [0, 1, 2, 3], list(range(8)), [7, 3, 6, 5, 4, 2, 1, 0]], ids=str)
def test_candidate_3_ends_the_same_in_every_batch_and_in_every_slot(shape: str, who: list[int]) -> None:
    population = run(Population([candidate(k, SHAPES[shape]) for k in who]))
    assert end_in(population, who.index(3)) == alone(3, shape)


def test_all_of_a_batch_end_as_alone_and_differ() -> None:
    population = run(Population([candidate(k) for k in range(4)]))
    ends = [end_in(population, k) for k in range(4)]
    assert ends == [alone(k) for k in range(4)]
    assert len({sha256 for sha256, _ in ends}) == 4


def test_networks_that_cannot_be_stacked_share_a_batch_too() -> None:
    args = replace(SMALL, dropout=0.2)
    population = run(Population([candidate(k, args, network=OneByOne) for k in (1, 2)]))
    assert end_in(population, 1) == end_of(candidate(2, args, network=OneByOne))


@pytest.mark.parametrize("at", [2, 11])
def test_a_slot_that_is_dropped_changes_nothing_for_the_others(at: int) -> None:
    population = Population([candidate(k) for k in range(4)])
    for _ in range(at):
        population.advance()
    population.drop(1)
    run(population)
    assert [end_in(population, k) for k in (0, 2, 3)] == [alone(k) for k in (0, 2, 3)]
    assert population.slot(1).t == at
    assert not population.slot(1).finished
    assert population.slot(1).batch.learners == [population.slot(1)]  # it does not keep the others' replay


def test_a_slot_whose_numbers_blow_up_leaves_with_its_last_good_weights_and_the_others_go_on() -> None:
    doomed = candidate(1)
    doomed.args = replace(doomed.args, learning_rate=1e30, gradient_clip=1e30)
    population = run(Population([candidate(0), doomed, candidate(2)]))
    assert {k: failure.reason for k, failure in population.failures.items()} == {1: Reason.DIVERGED}
    assert all(torch.isfinite(own).all() for own in population.slot(1).q.state_dict().values())
    assert population.slot(1).t < STEPS
    assert [end_in(population, k) for k in (0, 2)] == [alone(k) for k in (0, 2)]


def test_slots_of_other_lengths_end_when_they_are_done() -> None:
    population = run(Population([candidate(2, steps=15), candidate(3)]))
    assert end_in(population, 0) == end_of(candidate(2, steps=15))
    assert end_in(population, 1) == alone(3)


def test_saved_slot_by_slot_and_restored_into_a_group_of_others_each_ends_the_same() -> None:
    population = Population([candidate(k) for k in range(3)])
    for _ in range(9):
        population.advance()
    states = [saved(population.slot(k)) for k in range(3)]
    restored = [candidate(k) for k in (2, 0)]
    for learner, k in zip(restored, (2, 0), strict=True):
        learner.seed = 999
        learner.advance()
        learner.load_state(states[k])
    group = run(Population([*restored, candidate(3)]))
    assert [end_in(group, slot) for slot in range(3)] == [alone(2), alone(0), alone(3)]


def test_slots_saved_at_different_steps_are_brought_level_first() -> None:
    behind, before = candidate(1), candidate(2)
    for learner, units in ((behind, 7), (before, 12)):
        for _ in range(units):
            learner.advance()
    population = Population([behind, before])
    seen = []
    while not population.finished:
        seen.append((population.slot(0).t, population.slot(1).t))
        population.advance()
    assert seen[:7] == [(7, 12), (8, 12), (9, 12), (10, 12), (11, 12), (12, 12), (13, 13)]
    assert [end_in(population, k) for k in (0, 1)] == [alone(1), alone(2)]


def test_the_file_of_a_slot_is_that_of_the_candidate_alone() -> None:
    population = run(Population([candidate(k) for k in (0, 3)]))
    said = durable.sha256_bytes(weights.pack(population.slot(1).exported().network.state_dict()))
    single = candidate(3)
    end_of(single)
    assert said == durable.sha256_bytes(weights.pack(single.exported().network.state_dict()))


def test_candidates_of_different_shapes_are_refused_by_what_differs() -> None:
    with pytest.raises(ValueError, match="differ in batch_size, hidden, network"):
        Population([candidate(0), candidate(1, replace(SMALL, hidden="16", batch_size=64))])
