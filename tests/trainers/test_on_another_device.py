"""Every learner trains on a device that is not the CPU: on a pretended GPU it comes to the CPU's very bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from supervisor.execution import child
from supervisor.journal import durable
from tests.support.arena_trials import RESUME_PARAMS, small_spec, trial_folder
from tests.support.learner_conformance import LearnerConformance, end_of, saved
from tests.support.pretend_gpu import NAME, OnGpu, pretended
from tests.trainers import (
    test_combat_dqn,
    test_dqn,
    test_gymnasium,
    test_pattern_recognition,
    test_play_models,
    test_ppo,
    test_sac,
    test_skill_dqn,
    test_spatial_vit,
    test_team_coordination,
    test_temporal_transformer,
    test_threat_assessment,
)
from trainers import device, weights
from trainers.arena_target import ArenaTarget
from trainers.export import on_cpu
from trainers.learner import Learner
from trainers.single import Undisturbed

LEARNERS: Mapping[str, type[LearnerConformance]] = {
    "combat_dqn": test_combat_dqn.TestCombatDqn,
    "double dqn": test_dqn.TestInACorridor,
    "skill_dqn": test_skill_dqn.TestTraining,
    "movement_ppo": test_ppo.TestTraining,
    "soft actor-critic": test_sac.TestTraining,
    "team_coordination": test_team_coordination.TestTraining,
    "threat_assessment": test_threat_assessment.TestTraining,
    "pattern_recognition": test_pattern_recognition.TestTraining,
    "spatial_vit": test_spatial_vit.TestTraining,
    "temporal_transformer": test_temporal_transformer.TestTraining,
    "from play, combat": test_play_models.TestCombat,
    "from play, skills": test_play_models.TestSkills,
    "from play, actor-critic": test_play_models.TestPad,
    "gymnasium ppo": test_gymnasium.TestPpo,
    "gymnasium dqn": test_gymnasium.TestDqn,
    "gymnasium sac": test_gymnasium.TestSac,
}

UNITS = 9
"""Of work: with some gradient steps among them."""

# torch takes the pretended device for one without numbers
pytestmark = pytest.mark.filterwarnings("ignore:.*which is a no-op:UserWarning")


def tensors_of(state: object) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, Mapping):
        for inner in state.values():
            yield from tensors_of(inner)
    elif isinstance(state, list | tuple):
        for inner in state:
            yield from tensors_of(inner)


@pytest.fixture(params=LEARNERS)
def make(request: pytest.FixtureRequest) -> Callable[[int], Learner]:
    return LEARNERS[request.param]().make_learner


def test_it_comes_to_the_same_bits_as_on_the_cpu(
    make: Callable[[int], Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended(monkeypatch):
        training = make(1)
        end = end_of(training)
        assert any(isinstance(own, OnGpu) for own in tensors_of(training.final()))
    assert end == end_of(make(1))


def test_what_it_saves_lies_on_the_cpu_and_is_gone_on_with_on_the_device(
    make: Callable[[int], Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended(monkeypatch):
        training, units = make(1), 0
        while not training.finished:
            training.advance()
            units += 1
        whole = end_of(training)
        first = make(1)
        for _ in range(units // 2):
            first.advance()
        state = saved(first)
        assert {own.device.type for own in tensors_of(state)} == {"cpu"}
        other = make(2)
        other.advance()
        other.load_state(state)
        assert end_of(other) == whole


def test_what_leaves_for_production_lies_on_the_cpu_and_what_trains_stays(
    make: Callable[[int], Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended(monkeypatch):
        training = make(1)
        for _ in range(UNITS):
            training.advance()
        exported = on_cpu(training.exported())
        assert {own.device.type for own in exported.network.state_dict().values()} == {"cpu"}
        assert not any(isinstance(own, OnGpu) for own in exported.network.parameters())
        training.advance()
    on_the_cpu = make(1)
    for _ in range(UNITS):
        on_the_cpu.advance()
    same = on_cpu(on_the_cpu.exported())
    for name, own in same.network.state_dict().items():
        assert torch.equal(own, exported.network.state_dict()[name])


def test_a_whole_build_leaves_the_files_of_one_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(name: str) -> list[str]:
        spec, folder = small_spec(params=RESUME_PARAMS), trial_folder(tmp_path / name)
        spec = replace(spec, budget=replace(spec.budget, steps=spec.budget.steps // 4))
        ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
        return [durable.sha256_file(folder / file) for file in ("model.onnx", "final.pt")]

    plain = built("plain")
    with pretended(monkeypatch):
        assert built("pretended") == plain


def test_the_pretended_gpu_tells_where_two_devices_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended(monkeypatch):
        there = torch.ones(3, device=NAME)
        with pytest.raises(RuntimeError, match="tensors on the CPU and on the GPU"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError):
            there.numpy()
        assert (there + torch.tensor(1.0)).tolist() == [2.0, 2.0, 2.0]
        assert type(there.cpu()) is torch.Tensor
        assert weights.pack({"x": there}) == weights.pack({"x": torch.ones(3)})


# what a process is told


def test_without_a_word_of_the_executor_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.DEVICE_NAME, raising=False)
    assert device.chosen() == torch.device("cpu")
    device.compute_exactly()
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_names_are_the_executors() -> None:
    assert child.DEVICE_NAME == device.DEVICE_NAME
    assert torch.device(child.ONLY_GPU).type == device.CUDA


def test_on_a_gpu_exact_forms_are_asked_for_before_it_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, bool]] = []
    monkeypatch.setenv(device.DEVICE_NAME, child.ONLY_GPU)
    monkeypatch.setenv(device.WORKSPACE_NAME, "")
    monkeypatch.delenv(device.WORKSPACE_NAME)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda mode, *, warn_only: asked.append((mode, warn_only))
    )
    device.compute_exactly()
    assert asked == [(True, True)]
    assert device.os.environ[device.WORKSPACE_NAME] == device.WORKSPACE
    assert torch.backends.cudnn.benchmark is False
    assert not torch.cuda.is_initialized()
