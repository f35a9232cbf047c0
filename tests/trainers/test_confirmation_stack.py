"""The candidates of a confirmation train as one batch, and come to what each of them comes to alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import TrialResult, TrialSpec
from supervisor.journal import durable
from tests.support.arena_trials import RESUME_PARAMS, StopAt, small_spec, trial_folder
from trainers.arena_target import ArenaTarget
from trainers.build_stage import build_stage
from trainers.ledger import Ledger
from trainers.models.combat_dqn import FIGHTS
from trainers.single import Undisturbed
from trainers.target import Control, StopRequested

CHANGES = (
    {},
    {"training.learning_rate": 1e-3, "dqn.gamma": 0.95},
    {"dqn.dueling": True},  # of another shape
    {"training.learning_rate": 1e20},  # its numbers blow up
    {"reward.kills": 0.0, "dqn.n_step": 1},
)
Outcome = tuple[TrialResult, dict[str, str]]


def confirmation() -> TrialSpec:
    spec = small_spec(rows=16, params=RESUME_PARAMS, games=10)
    candidates = tuple({**spec.params, **change} for change in CHANGES)
    return replace(spec, candidates=candidates, purpose="confirmation", seeds={**spec.seeds, "confirm": 1, "screen": 2})


def outcome(folder: Path, control: Control | None = None, together: bool = True) -> Outcome:
    spec, control = confirmation(), control or Undisturbed()
    target = ArenaTarget(spec, folder, control)
    if not together:
        target.prepare = lambda candidates: None  # type: ignore[method-assign]
    result = build_stage(spec, folder, target, Ledger(folder, control))
    files = {
        f"{path.parent.name}/{path.name}": durable.sha256_file(path)
        for name in ("model.onnx", "final.pt")
        for path in folder.rglob(name)
    }
    return replace(result, latency={}, measured={}), files


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome(trial_folder(tmp_path_factory.mktemp("alone")), together=False)


def test_together_they_come_to_the_same_files_and_games(tmp_path: Path, alone: Outcome) -> None:
    together = outcome(trial_folder(tmp_path))
    assert together == alone
    assert len(together[0].confirmation) == len(CHANGES) - 1  # without the one that diverged


def test_stopped_in_the_midst_of_it_they_go_on_to_the_same_end(tmp_path: Path, alone: Outcome) -> None:
    folder = trial_folder(tmp_path)
    with pytest.raises(StopRequested):
        outcome(folder, StopAt(5 * FIGHTS))
    assert (folder / "c0" / "weights.pt").exists()
    assert (folder / "c4" / "weights.pt").exists()
    assert not (folder / "c0" / "built.json").exists()
    assert outcome(folder) == alone


def test_as_many_as_memory_holds_train_at_a_time(tmp_path: Path, alone: Outcome) -> None:
    folder = trial_folder(tmp_path)
    spec = confirmation()
    target = ArenaTarget(replace(spec, budget=replace(spec.budget, ram_mb=9)), folder, Undisturbed())
    works = [folder / f"c{number}" for number in range(len(CHANGES))]
    for work in works:
        work.mkdir()
    target.prepare(list(zip(spec.candidates, works, strict=True)))
    assert outcome(folder) == alone
