"""What `incumbent serve` makes of the settings for the intake of experiences."""

from __future__ import annotations

from pathlib import Path

from supervisor.commands.serve import intake_of
from supervisor.experience.intake.options import IntakeOptions
from supervisor.search.setup import load_setup

URL = "postgresql://game:hunter2@db/play"


def options(environ: dict[str, str] | None = None, **flags: object) -> IntakeOptions:
    setup = load_setup(None, environ or {}, flags)
    return intake_of(setup.settings, setup.targets)


def test_every_archetype_with_every_model_type_is_known_whichever_are_searched() -> None:
    found = options(**{"run.targets": ["gymnasium/cartpole", "mage/combat_dqn"]}).targets
    assert {"gymnasium/cartpole", "mage/combat_dqn", "tank/soft_actor_critic"} <= set(found)
    assert len(found) == 55


def test_own_search_spaces_are_known_too(tmp_path: Path) -> None:
    built_in = Path(__file__).resolve().parents[2] / "search_spaces" / "archetypes" / "mage.yaml"
    (tmp_path / "archetypes").mkdir()
    (tmp_path / "archetypes" / "wizard.yaml").write_text(built_in.read_text().replace("mage", "wizard"))
    found = options(**{"run.search_spaces": tmp_path}).targets
    assert "wizard/combat_dqn" in found
    assert len(found) == 63


def test_the_limits_and_the_address_are_the_settings() -> None:
    named = {"ACCEPT": "false", "URL": URL, "MAX_BODY_KB": "1", "MAX_WAITING_ROWS": "2", "COMMIT_MS": "3"}
    found = options({f"INCUMBENT_EXPERIENCE__{name}": value for name, value in named.items()})
    assert (found.accept, found.url, found.max_body_kb) == (False, URL, 1)
    assert (found.max_waiting_rows, found.commit_ms) == (2, 3)
    assert "hunter2" not in repr(found)
