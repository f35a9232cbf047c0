"""skill_dqn: its network, its training, its games."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from supervisor.contract import Interface, Params
from supervisor.errors import TrialError
from tests.support.arena_trials import default_params
from tests.support.learner_conformance import LearnerConformance
from tests.support.target_conformance import TargetConformance
from trainers.arena.arena import OBSERVATION_WIDTH
from trainers.arena.skills import ELEMENTS, SLOTS, VOCABULARY, loadouts
from trainers.arena_target import ArenaTarget
from trainers.learner import Case, Exported, Learner
from trainers.models.skill_dqn import FIGHTS, SkillDqn
from trainers.networks.skills import SkillQNetwork
from trainers.parameters import fields, group
from trainers.single import single_spec
from trainers.target import Control

SMALL: Params = {
    **default_params("aggressive/skill_dqn"),
    "dqn.hidden": "16,16",
    "dqn.batch_size": 32,
    "dqn.learning_starts": 4,
    "dqn.replay_rows": 16,
    "skills.embedding": 4,
}


class TestTraining(LearnerConformance):
    idle_parts = frozenset({"patience"})  # which is off

    def make_learner(self, seed: int) -> Learner:
        rewards = group(SMALL, "reward")
        kind = SkillDqn()
        args = fields(kind.args, kind.names, {name: SMALL[name] for name in SMALL if name not in rewards})
        return kind.learner(Case("aggressive", 1, rewards), args, 12 * FIGHTS, seed, None)

    def example(self, exported: Exported, rows: int) -> dict[str, np.ndarray]:
        state = np.random.default_rng(rows).random((rows, OBSERVATION_WIDTH), dtype=np.float32)
        return {"state": state, "skills": loadouts(np.arange(rows, dtype=np.uint64)).columns}


class TestTarget(TargetConformance):
    params = SMALL

    def open_target(self, folder: Path, control: Control) -> ArenaTarget:
        return ArenaTarget(single_spec("aggressive/skill_dqn", 1, SMALL, 6 * FIGHTS, 7), folder, control)


def network(dueling: bool = False) -> SkillQNetwork:
    torch.manual_seed(0)
    return SkillQNetwork(OBSERVATION_WIDTH, SLOTS, VOCABULARY, ELEMENTS, 8, (32, 32), dueling).eval()


def observations(rows: int = 6) -> torch.Tensor:
    skills = torch.from_numpy(loadouts(np.arange(rows, dtype=np.uint64)).columns)
    return torch.cat([torch.rand(rows, OBSERVATION_WIDTH), skills], 1)


@pytest.mark.parametrize("dueling", [False, True])
def test_other_places_of_the_same_skills_give_the_same_values_in_other_places(dueling: bool) -> None:
    seen = observations()
    order = torch.tensor([0, 3, 1, 6, 2, 5, 4])
    moved = seen.clone()
    moved[:, OBSERVATION_WIDTH : OBSERVATION_WIDTH + SLOTS] = seen[:, OBSERVATION_WIDTH:][:, order]
    model = network(dueling)
    assert torch.allclose(model(moved), model(seen)[:, order], atol=1e-6)


def test_a_skills_value_depends_on_the_foes_nature() -> None:
    seen = observations()
    other = seen.clone()
    other[:, -1] = (seen[:, -1] + 1) % ELEMENTS
    assert (network()(seen) - network()(other)).abs().max() > 1e-4


def test_weights_of_another_width_are_taken_over_where_they_fit() -> None:
    wide = SkillQNetwork(OBSERVATION_WIDTH, SLOTS, VOCABULARY, ELEMENTS, 8, (32, 48))
    assert not wide.adopt(network().state_dict())
    assert torch.equal(wide.skill.weight, network().skill.weight)
    assert network().adopt(network().state_dict())


def test_a_network_of_one_layer_is_refused_with_what_to_do() -> None:
    with pytest.raises(TrialError, match="hidden two widths or more"):
        replace(TestTraining().make_learner(1).args, hidden="16")


def test_the_file_takes_the_state_and_the_ids_apart() -> None:
    from trainers.export import interface

    assert interface(network().exported()) == Interface({"state": (0, 64), "skills": (0, 8)}, {"q_values": (0, 7)})
