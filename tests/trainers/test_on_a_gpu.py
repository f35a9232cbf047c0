"""Trainings on a real GPU: the same bits from the same seed, also when they are saved and gone on with, and no other
GPU in sight. Where there is none these are skipped; what goes through trial processes runs on the CPU as well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from supervisor.contract import Budget, as_json
from supervisor.execution.child import DEVICE_NAME, ONLY_GPU
from supervisor.execution.device import Device
from supervisor.execution.executor import Exit, ExitKind, Launch
from supervisor.execution.gpu import Gpu
from supervisor.execution.local import LocalExecutor
from supervisor.journal import durable, sealed
from tests.support.arena_trials import RESUME_PARAMS, small_spec, trial_folder
from tests.support.gpu_sight import SEEN_NAME
from tests.support.learner_conformance import end_of, saved
from tests.support.processes import wait_for
from tests.support.trial_folders import collect
from tests.trainers.test_on_another_device import LEARNERS, tensors_of
from trainers import device
from trainers.learner import Learner

BUDGET = Budget(steps=0, wall_s=600.0, ram_mb=4096, vram_fraction=0.2)


def gpus_or_skip() -> tuple[Gpu, ...]:
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        pytest.skip(f"no GPU that this torch ({built}) can use")
    said: list[str] = []
    return Gpu.find_all(said.append) or pytest.skip("; ".join(said))


# in this process


@pytest.fixture
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gpus_or_skip()
    monkeypatch.setenv(DEVICE_NAME, ONLY_GPU)
    monkeypatch.setenv(device.WORKSPACE_NAME, device.WORKSPACE)  # as a trial has it from its beginning
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    device.compute_exactly()  # what has no exact form warns, and warnings are errors here
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=LEARNERS)
def make(request: pytest.FixtureRequest, on_the_gpu: None) -> Callable[[int], Learner]:
    return LEARNERS[request.param]().make_learner


def test_one_seed_gives_one_training_there_too(make: Callable[[int], Learner]) -> None:
    training = make(1)
    end = end_of(training)
    assert any(own.device.type == "cuda" for own in tensors_of(training.final()))
    assert end_of(make(1)) == end


def test_saved_and_restored_there_it_ends_the_same(make: Callable[[int], Learner]) -> None:
    training, units = make(1), 0
    while not training.finished:
        training.advance()
        units += 1
    first = make(1)
    for _ in range(units // 2):
        first.advance()
    state = saved(first)
    assert {own.device.type for own in tensors_of(state)} == {"cpu"}
    other = make(2)
    other.advance()
    other.load_state(state)
    assert end_of(other) == end_of(training)


# in trial processes


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[LocalExecutor, Device]]:
    """An executor, and the last GPU there is, or none."""
    gpus = gpus_or_skip() if request.param == "gpu" else ()
    executor = LocalExecutor(gpus=gpus)
    yield executor, Device(gpus[-1].card) if gpus else Device(hides=True)
    executor.close()


def built(place: tuple[LocalExecutor, Device], folder: Path, stop: bool = False) -> tuple[Exit, list[str]]:
    """One attempt at the trial in the folder, asked to stop in its midst or not; the hashes of what it left."""
    executor, shown = place
    handle = executor.submit(Launch(folder, 1, BUDGET, "build", shown))
    if stop:
        wait_for("it trains", (folder / "heartbeat").exists)
        executor.stop(handle)
    ended = collect(executor, handle)
    files = [folder / name for name in ("model.onnx", "final.pt")]
    return ended, [durable.sha256_file(file) for file in files if file.exists()]


def trial(tmp_path: Path, name: str) -> Path:
    spec, folder = small_spec(rows=120, params=RESUME_PARAMS), trial_folder(tmp_path / name)
    sealed.write(folder / "trial.json", as_json(replace(spec, games=10, seeds={"train": 7, "screen": 2**40})))
    return folder


def test_a_trial_that_was_stopped_in_its_midst_leaves_the_files_of_one_that_never_was(
    place: tuple[LocalExecutor, Device], tmp_path: Path
) -> None:
    ended, whole = built(place, trial(tmp_path, "whole"))
    assert (ended.kind, len(whole)) == (ExitKind.DONE, 2), ended.detail
    assert json.loads((tmp_path / "whole" / "trials" / "000001" / "result.json").read_text())
    folder = trial(tmp_path, "stopped")
    first, left = built(place, folder, stop=True)
    assert (first.kind, left) == (ExitKind.STOPPED, [])
    last, files = built(place, folder)
    assert (last.kind, files) == (ExitKind.DONE, whole), last.detail
    warned = [line for line in (folder / "stderr.log").read_text().splitlines() if "deterministic" in line]
    assert not warned


def test_a_trial_sees_one_gpu_or_none(place: tuple[LocalExecutor, Device], tmp_path: Path) -> None:
    _, shown = place
    gpus = [gpu for gpu in Gpu.find_all(lambda said: None) if gpu.card == shown.gpu]
    executor = LocalExecutor(worker="tests.support.gpu_sight", preload=(), gpus=gpus)
    try:
        ended = collect(executor, executor.submit(Launch(tmp_path, 1, BUDGET, "build", shown)))
    finally:
        executor.close()
    assert ended.kind is ExitKind.DONE, ended.detail
    seen = json.loads((tmp_path / SEEN_NAME).read_text())
    assert seen["uuids"] == ([shown.gpu.visible] if shown.gpu is not None else [])
    assert seen["device"] == (ONLY_GPU if shown.gpu is not None else "cpu")
    assert seen.get("sum") == (1000.0 if shown.gpu is not None else None)
