"""The founding documents' option names."""

from __future__ import annotations

from pathlib import Path

from supervisor.config.founding import TABLE
from supervisor.config.load import read_settings
from supervisor.config.mistakes import field_at
from supervisor.search.setup import load_setup

DOCUMENT = """\
continuous_training:
  max_cpu_usage: 30
  max_vram_usage: 0.7
  pause_on_high_load: true
  batch_size: 128
  max_steps_per_iteration: 500
  auto_deploy: false
  min_improvement: 0.02
  check_interval_seconds: 60
  rollback_on_degradation: false
models:
  combat_dqn:
    hidden_dims: [64, 32]
    dropout: 0.2
    learning_rate: 0.0001
"""

DEFAULTS = {
    "enabled": True,
    "check_interval_s": 300.0,
    "min_new_experiences": 1000,
    "batch_size": 256,
    "gradient_accumulation_steps": 4,
    "max_steps_per_iteration": 1000,
    "checkpoint_frequency": 500,
    "validation_frequency": 1000,
    "validation_samples": 1000,
    "experience_lookback_days": 7,
    "auto_deploy": True,
    "min_improvement": 0.01,
}


def test_their_options_have_their_meaning_here(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(DOCUMENT)
    setup = load_setup(path, {}, {})
    settings, target = setup.settings, setup.targets["aggressive/combat_dqn"]
    assert (settings.resources.max_cpu_percent, settings.resources.max_vram_fraction) == (30, 0.7)
    assert settings.resources.pause_on_high_load is True
    continuous = settings.continuous
    assert (continuous.auto_deploy, continuous.min_improvement, continuous.check_interval_s) == (False, 0.02, 60)
    assert (continuous.batch_size, continuous.max_steps_per_iteration) == (128, 500)
    assert settings.watch.rollback_on_degradation is False
    params = target.defaults()
    assert (params["dqn.dropout"], params["dqn.hidden"]) == (0.2, "64,32")
    assert params["training.learning_rate"] == 1e-4
    assert setup.loaded.sources["continuous.min_improvement"] == f"file {path}:8:20"


def test_what_they_leave_out_has_their_defaults(tmp_path: Path) -> None:
    settings = load_setup(None, {}, {}).settings
    assert settings.continuous.model_dump(include=set(DEFAULTS)) == DEFAULTS
    assert settings.watch.rollback_on_degradation is True
    assert (settings.resources.max_vram_fraction, settings.resources.pause_on_high_load) == (0.7, True)


def test_an_option_given_under_both_names_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    path.write_text("continuous:\n  min_improvement: 0.1\ncontinuous_training:\n  min_improvement: 0.2\n")
    loaded, problems = read_settings(path, {}, {})
    assert problems == [
        f"{path}:4:3: continuous_training.min_improvement: means the same as continuous.min_improvement, which is given"
        " too; keep one of them"
    ]
    assert loaded.settings.continuous.min_improvement == 0.1


def test_an_option_without_counterpart_is_refused_at_its_own_place(tmp_path: Path) -> None:
    path = tmp_path / "unknown.yaml"
    path.write_text("continuous_training:\n  auto_deploy: true\n  model_server: x\ntraining: 7\n")
    first, second = read_settings(path, {}, {})[1]
    assert first.startswith(f"{path}:3:3: continuous_training.model_server: ")
    assert second.startswith(f"{path}:4:11: training: ")


def test_a_wrong_value_under_an_old_name_is_placed_where_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("continuous_training:\n  auto_deploy: perhaps\n")
    [problem] = read_settings(path, {}, {})[1]
    assert problem.startswith(f"{path}:2:16: continuous.auto_deploy: 'perhaps' is no good here; give true or false")


def test_every_old_name_leads_to_a_setting_that_is_there() -> None:
    params = load_setup(None, {}, {}).targets["tank/combat_dqn"].defaults()
    for new, _ in TABLE.values():
        if new[0] == "targets":
            assert new[-1] in params
        else:
            assert field_at(new) is not None
