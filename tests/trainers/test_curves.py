"""TensorBoard's scalars: there when asked for, readable, without a word in what a trial comes to."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from supervisor.contract import TrialSpec
from supervisor.errors import ConfigurationError
from supervisor.journal.trial_folder import TrialFolder
from supervisor.search import setup
from tests.support.arena_trials import RESUME_PARAMS, StopAt, small_spec, trial_folder
from trainers.arena_target import ArenaTarget
from trainers.curves import tag_of
from trainers.models.combat_dqn import FIGHTS
from trainers.single import Undisturbed
from trainers.target import Built, StopRequested


def built(run_dir: Path, spec: TrialSpec) -> tuple[Built, Path]:
    folder = trial_folder(run_dir)
    return ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder), folder


def scalars(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "curves" / "aggressive.combat_dqn"))
    found.Reload()
    return found


def test_the_figures_of_a_training_are_curves_over_its_steps(tmp_path: Path) -> None:
    spec = small_spec(params=RESUME_PARAMS, curves=True)
    result, folder = built(tmp_path, spec)
    found = scalars(folder)
    assert {"train/loss", "train/q_value", "train/td_error", "train/reward", "train/length", "train/score"} <= set(
        found.Tags()["scalars"]
    )
    points = found.Scalars("train/loss")
    assert [point.step for point in points] == [FIGHTS * t for t in range(1, 25)]
    assert points[-1].value == pytest.approx(result.metrics["train_loss"], rel=1e-6)


def test_with_and_without_curves_a_trial_comes_to_the_same(tmp_path: Path) -> None:
    spec = small_spec(params=RESUME_PARAMS)
    plain, folder = built(tmp_path / "plain", spec)
    watched, _ = built(tmp_path / "watched", replace(spec, curves=True))
    assert plain.metrics == watched.metrics
    assert plain.model is not None
    assert watched.model is not None
    assert plain.model.read_bytes() == watched.model.read_bytes()
    assert not (folder / "curves").exists()


def test_they_go_on_after_a_stop_and_stay_when_the_weights_go(tmp_path: Path) -> None:
    spec = small_spec(params=RESUME_PARAMS, curves=True)
    folder = trial_folder(tmp_path)
    with pytest.raises(StopRequested):
        ArenaTarget(spec, folder, StopAt(9 * FIGHTS)).build(spec.params, folder)
    ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
    TrialFolder(folder).tidy()
    assert sorted(path.name for path in folder.iterdir()) == ["committed", "curves"]
    assert [point.step // FIGHTS for point in scalars(folder).Scalars("train/score")] == list(range(1, 25))


def test_without_the_package_a_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(setup, "find_spec", lambda name: None if name == "tensorboard" else there(name))
    with pytest.raises(ConfigurationError, match="pip install tensorboard, or leave it off"):
        setup.load_setup(None, {"INCUMBENT_RUN__TENSORBOARD": "true"}, {})
    setup.load_setup(None, {}, {})


def test_a_figure_without_a_group_has_its_place() -> None:
    assert (tag_of("train_td_error"), tag_of("gradient_steps"), tag_of("accuracy")) == (
        "train/td_error",
        "training/gradient_steps",
        "training/accuracy",
    )
