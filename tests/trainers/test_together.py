"""A batch of trainings leaves in each folder what the training alone would leave, and a group does no more."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import Group, Json, TrialSpec, as_json
from supervisor.errors import TrialError
from supervisor.journal import durable, sealed
from tests.support.arena_trials import RESUME_PARAMS, StopAt, small_spec, trial_folder
from trainers import weights
from trainers.algorithms.population import Population
from trainers.arena_target import ArenaTarget
from trainers.group import GROUP_NAME, TRAINED_NAME, train_group
from trainers.learner import Learner, Stack
from trainers.models.combat_dqn import FIGHTS
from trainers.single import Undisturbed
from trainers.target import StopRequested
from trainers.together import train_together

SEEDS = (7, 7, 8)
CHANGES: tuple[dict[str, Json], ...] = ({}, {"training.learning_rate": 1e-3}, {"dqn.gamma": 0.95})


def proposal(number: int) -> TrialSpec:
    spec = small_spec(rows=16, params={**RESUME_PARAMS, **CHANGES[number]}, seed=SEEDS[number])
    return replace(spec, iteration=number + 1, level=number + 1)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = [trial_folder(tmp_path, f"{number + 1:06d}") for number in range(len(CHANGES))]
    for number, folder in enumerate(made):
        sealed.write(folder / "trial.json", as_json(proposal(number)))
    sealed.write(made[0] / GROUP_NAME, as_json(Group((2, 3))))
    return made


def files(folder: Path, number: int) -> list[str]:
    ArenaTarget(proposal(number), folder, Undisturbed()).build(proposal(number).params, folder)
    return [durable.sha256_file(folder / name) for name in ("model.onnx", "final.pt")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    return [files(trial_folder(tmp_path_factory.mktemp("alone")), number) for number in range(len(CHANGES))]


def trained_to(folder: Path) -> int:
    point = weights.load_point(folder)
    return 0 if point is None else point[0]


def test_trials_of_other_seeds_and_levels_train_to_what_each_comes_to_alone(
    folders: list[Path], alone: list[list[str]]
) -> None:
    train_group(folders[0], ArenaTarget(proposal(0), folders[0], Undisturbed()))
    assert [trained_to(folder) for folder in folders] == [16 * FIGHTS] * 3
    assert all((folder / TRAINED_NAME).exists() for folder in folders)
    assert not (folders[0] / GROUP_NAME).exists()
    assert [files(folder, number) for number, folder in enumerate(folders)] == alone


def test_stopped_in_the_midst_of_it_every_trial_can_go_on_by_itself(
    folders: list[Path], alone: list[list[str]]
) -> None:
    with pytest.raises(StopRequested):
        train_group(folders[0], ArenaTarget(proposal(0), folders[0], StopAt(9 * FIGHTS)))
    assert [trained_to(folder) for folder in folders] == [9 * FIGHTS] * 3
    assert not any((folder / TRAINED_NAME).exists() for folder in folders)
    assert (folders[0] / GROUP_NAME).exists()
    assert [files(folder, number) for number, folder in enumerate(folders)] == alone


def test_a_folder_in_which_another_process_works_is_left_to_it(folders: list[Path]) -> None:
    descriptor = os.open(folders[1], os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    train_group(folders[0], ArenaTarget(proposal(0), folders[0], Undisturbed()))
    os.close(descriptor)
    assert [trained_to(folder) for folder in folders] == [16 * FIGHTS, 0, 16 * FIGHTS]
    assert not (folders[1] / TRAINED_NAME).exists()


def test_a_damaged_list_of_the_group_leaves_each_to_itself(folders: list[Path]) -> None:
    (folders[0] / GROUP_NAME).write_bytes(b'{"iterations":[2,3],"checksum":"0"}')
    train_group(folders[0], ArenaTarget(proposal(0), folders[0], Undisturbed()))
    assert [trained_to(folder) for folder in folders[1:]] == [0, 0]
    assert not (folders[0] / GROUP_NAME).exists()


def test_of_a_training_whose_numbers_blow_up_no_later_point_is_saved(folders: list[Path]) -> None:
    """Gone on with from there it might do well, which alone it never gets to."""

    class OneFails:
        def stacks(self, learners: Sequence[Learner]) -> list[Stack]:
            stack = Failing(learners)  # type: ignore[arg-type]
            return [stack]

        def memory_mb(self, args: object) -> float:
            return 1.0

    class Failing(Population):
        def advance(self) -> None:
            super().advance()
            self.slot(1).failure = TrialError("diverged")

    targets = [ArenaTarget(proposal(number), folder, Undisturbed()) for number, folder in enumerate(folders)]
    trainings = [
        training
        for number, target in enumerate(targets)
        for training in target._training(proposal(number).params, folders[number])
    ]
    train_together(OneFails(), trainings, 1000.0, 10.0, Undisturbed())
    assert [trained_to(folder) for folder in folders] == [16 * FIGHTS, 0, 16 * FIGHTS]
