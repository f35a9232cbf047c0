"""Devices as people name them: in the configuration, as a flag, and in what a run says of itself. On a stand-in for
NVIDIA's library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.execution.resource_note import read_note
from supervisor.search.setup import load_setup
from tests.support.command_line import NoopFolder, call, process
from tests.support.gpu_target import SEEN_NAME, TAKE_NAME
from tests.support.gpu_worlds import StandIn, build_library
from tests.support.processes import finish, start, wait_for


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    machine = StandIn(build_library(tmp_path), tmp_path / "state")
    machine.tell(("GPU-one", 8192, 0, 0), ("GPU-two", 8192, 0, 0))
    return machine


@pytest.fixture
def folder(tmp_path: Path) -> NoopFolder:
    made = NoopFolder.make(tmp_path / "folder")
    for path in (tmp_path / "folder" / "spaces").iterdir():
        path.write_text(path.read_text().replace("tests.support.noop:NoopTarget", "tests.support.gpu_target:GpuTarget"))
    return made


def with_devices(folder: NoopFolder, section: str) -> None:
    folder.config.write_text(f"{folder.config.read_text()}targets:\n{section}")


def seeing_both(stand_in: StandIn) -> dict[str, str]:
    return {**stand_in.environ, "CUDA_VISIBLE_DEVICES": "0,1"}


def test_a_gpu_that_is_not_there_is_said_at_the_start_with_its_place_and_what_there_is(
    folder: NoopFolder, stand_in: StandIn
) -> None:
    with_devices(folder, "  '*/noop': {device: cpu}\n  mage/noop: {device: cuda:2}\n  'mage/*': {device: cuda:7}\n")
    flags = (*folder.flags, "--max-iterations", "1")
    refused = process("run", "--run-dir", str(folder.run_dir), *flags, environ=seeing_both(stand_in))
    assert refused.code == 3
    assert refused.err.strip() == (
        f"{folder.config}:8:23: targets.mage/noop.device: there is no cuda:2: there are cuda:0 Card, cuda:1 Card;"
        " give one that is there, auto or cpu"
    )
    assert not folder.run_dir.exists()


def test_where_there_is_no_gpu_at_all_that_is_said_and_a_command_that_trains_nothing_does_not_mind(
    folder: NoopFolder,
) -> None:
    with_devices(folder, "  '*/noop':\n    device: cuda:0\n")
    refused = folder.call_with_config("run", "--max-iterations", "1")
    assert refused.code == 3
    assert f"{folder.config}:8:13: targets.*/noop.device: there is no cuda:0: there is no GPU" in refused.err
    assert call("validate", str(folder.config)).code == 0  # which is true of every machine


@pytest.mark.parametrize("device", ["cuda", "gpu", "cuda:", "cuda:-1", "cuda:01", "CPU", "cuda:1,0"])
def test_what_is_no_device_is_a_mistake_of_the_file(folder: NoopFolder, device: str) -> None:
    with_devices(folder, f"  mage/noop: {{device: '{device}'}}\n")
    refused = call("validate", str(folder.config))
    assert refused.code == 3
    assert f"{folder.config}:7:23: targets.mage/noop.device: " in refused.err
    assert "auto" in refused.err


def test_the_setting_is_shown_and_is_no_part_of_who_a_run_is(folder: NoopFolder) -> None:
    before = load_setup(folder.config, {}, {})
    with_devices(folder, "  '*/noop': {device: cpu}\n")
    line = next(
        line for line in call("validate", "--show", str(folder.config)).out.splitlines() if "noop.device" in line
    )
    assert line.split() == ["targets.*/noop.device", "cpu", "file", f"{folder.config}:7:22"]
    after = load_setup(folder.config, {}, {})
    assert {target.device for target in after.targets.values()} == {"cpu"}
    assert after.decides() == before.decides()


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda:7", "--device cuda:7: there is no cuda:7: there are cuda:0 Card, cuda:1 Card"),
        ("gpu", "--device gpu: no such device; give auto, cpu or cuda:N"),
        ("cuda:0", "--device cuda:0: the installed torch is built without CUDA"),
    ],
)
def test_train_refuses_a_device_that_is_not_there_before_it_writes_anything(
    device: str, said: str, stand_in: StandIn, tmp_path: Path
) -> None:
    from supervisor.execution.machine import torch_has_cuda

    if device == "cuda:0" and torch_has_cuda():
        pytest.skip("the installed torch has CUDA")
    flags = ("--archetypes", "mage", "--model-types", "combat_dqn", "--device", device)
    refused = process("train", "--run-dir", str(tmp_path / "run"), *flags, environ=seeing_both(stand_in))
    assert refused.code == 2
    assert said in refused.err
    assert not (tmp_path / "run").exists()


def test_doctor_names_every_gpu(stand_in: StandIn, tmp_path: Path) -> None:
    found = process("doctor", "--json", "--run-dir", str(tmp_path / "run"), environ=seeing_both(stand_in))
    [gpu] = [each for each in json.loads(found.out)["findings"] if each["name"] == "GPU"]
    assert gpu["text"].startswith("cuda:0 Card; cuda:1 Card")


@pytest.mark.slow
def test_workers_spread_over_the_gpus_each_sees_its_own_and_status_says_so(
    folder: NoopFolder, stand_in: StandIn, tmp_path: Path
) -> None:
    take, seen = tmp_path / "take", tmp_path / "seen"
    take.write_text("".join(f"{iteration} 500 {2 if iteration < 9 else 0.1}\n" for iteration in range(1, 17)))
    environ = {**seeing_both(stand_in), TAKE_NAME: str(take), SEEN_NAME: str(seen)}
    run = start(folder.run_dir, *folder.flags, "--workers", "4", "--max-iterations", "12", environ=environ)

    def told() -> str:
        note = read_note(folder.run_dir)
        return note.resources.device if note is not None else ""

    wait_for("trials on both", lambda: told() == "cuda:0, cuda:1")
    spread = "cuda:0, cuda:1"
    wait_for("programs see it", lambda: folder.call("status", "--json").json()["resources"]["device"] == spread)
    wait_for("status says it", lambda: "trials on cuda:0, cuda:1" in folder.call("status").out)
    finish(run, folder.run_dir)
    lines = folder.lines()
    assert [line.status for line in lines] == ["complete"] * 12
    assert {line.time["device"] for line in lines} <= {"cuda:0 Card", "cuda:1 Card", "cpu"}
    shown = [line.split() for line in seen.read_text().splitlines()]
    first = [gpu for iteration, gpu, _ in shown if int(iteration) <= 4]
    assert sorted(first) == ["GPU-one"] * 2 + ["GPU-two"] * 2
    assert {share for _, _, share in shown} == {"0.15"}  # of four workers two share a GPU: 30 % of each
    for iteration, gpu, _ in shown:
        line = lines[int(iteration) - 1]
        if line.time["gpu_seconds"]:
            assert line.time["device"] == {"GPU-one": "cuda:0 Card", "GPU-two": "cuda:1 Card"}[gpu]
