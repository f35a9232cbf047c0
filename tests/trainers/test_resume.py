"""A training that was stopped, killed or restored is, to the last bit, the training that never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.journal import durable
from tests.support.arena_trials import RESUME_PARAMS, StopAt, small_spec, trial_folder
from trainers import arena_target, weights
from trainers.arena_target import ArenaTarget
from trainers.models.combat_dqn import FIGHTS
from trainers.single import Undisturbed
from trainers.target import StopRequested

ROWS = 24
KILLED_AT = 15
Files = tuple[tuple[str, str], dict[str, float]]

KILL = """
import os, signal, sys
from pathlib import Path
from tests.support.arena_trials import RESUME_PARAMS, small_spec
from trainers import arena_target
from trainers.single import Undisturbed

class Killed(Undisturbed):
    def beat(self, step):
        if step >= int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

arena_target.SAVE_INTERVAL_S = -1.0
folder = Path(sys.argv[1])
spec = small_spec(params=RESUME_PARAMS)
arena_target.ArenaTarget(spec, folder, Killed()).build(spec.params, folder)
"""


def built_hashes(folder: Path) -> tuple[str, str]:
    return durable.sha256_file(folder / "final.pt"), durable.sha256_file(folder / "model.onnx")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Files:
    spec, folder = small_spec(params=RESUME_PARAMS), trial_folder(tmp_path_factory.mktemp("undisturbed"))
    built = ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
    return built_hashes(folder), dict(built.metrics)


def test_killed_and_resumed_in_another_process_it_ends_with_the_same_files(tmp_path: Path, undisturbed: Files) -> None:
    folder = trial_folder(tmp_path / "killed")
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", KILL, str(folder), str(KILLED_AT * FIGHTS)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    point = weights.load_point(folder)
    assert point is not None
    assert point[0] == (KILLED_AT - 1) * FIGHTS
    spec = small_spec(params=RESUME_PARAMS)
    built = ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
    assert (built_hashes(folder), dict(built.metrics)) == undisturbed


@pytest.mark.parametrize("stop_at", [1, 5, ROWS])
def test_asked_to_stop_it_saves_leaves_and_goes_on_from_there(tmp_path: Path, stop_at: int, undisturbed: Files) -> None:
    spec, folder = small_spec(params=RESUME_PARAMS), trial_folder(tmp_path / "stopped")
    control = StopAt(stop_at * FIGHTS)
    if stop_at < ROWS:
        with pytest.raises(StopRequested):
            ArenaTarget(spec, folder, control).build(spec.params, folder)
        point = weights.load_point(folder)
        assert point is not None
        assert point[0] == stop_at * FIGHTS
    beats: list[int] = []
    control = Undisturbed()
    control.beat = beats.append  # type: ignore[method-assign]
    ArenaTarget(spec, folder, control).build(spec.params, folder)
    assert beats[0] == (stop_at % ROWS + 1) * FIGHTS
    assert built_hashes(folder) == undisturbed[0]


def test_with_its_newest_point_damaged_it_goes_on_from_the_one_before(tmp_path: Path, undisturbed: Files) -> None:
    spec, folder = small_spec(params=RESUME_PARAMS), trial_folder(tmp_path / "damaged")
    for stop_at in (5, 10):
        with pytest.raises(StopRequested):
            ArenaTarget(spec, folder, StopAt(stop_at * FIGHTS)).build(spec.params, folder)
    path = folder / weights.WEIGHTS_NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    point = weights.load_point(folder)
    assert point is not None
    assert point[0] == 5 * FIGHTS
    ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
    assert built_hashes(folder) == undisturbed[0]


def test_a_full_disk_while_saving_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Files
) -> None:
    spec, folder = small_spec(params=RESUME_PARAMS), trial_folder(tmp_path / "full")

    def full(folder: Path, step: int, state: object) -> None:
        raise durable.DiskFullError(28, "no space left")

    monkeypatch.setattr(arena_target, "SAVE_INTERVAL_S", -1.0)
    monkeypatch.setattr(weights, "save_point", full)
    ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
    assert built_hashes(folder) == undisturbed[0]
