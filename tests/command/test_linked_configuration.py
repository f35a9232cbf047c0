from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.contract import Version
from tests.support.programs import CONFIG, OTHER_PARAMS, command_settings, make_program, trial_spec
from tests.support.target_conformance import ManualControl
from trainers.command import CommandTarget

LINKS = {
    "a file elsewhere": {"conf/config.yaml": "../../elsewhere/config.yaml"},
    "a file elsewhere, by its whole path": {"conf/config.yaml": "{place}/elsewhere/config.yaml"},
    "a folder elsewhere": {"conf": "{place}/elsewhere"},
    "a link to a link to elsewhere": {
        "conf/config.yaml": "../second.yaml",
        "second.yaml": "{place}/elsewhere/config.yaml",
    },
    "a file of the same tree": {"conf/config.yaml": "../within.yaml"},
}


@pytest.mark.parametrize("name", LINKS)
def test_a_copied_tree_whose_configuration_is_a_link_is_edited_in_the_copy_alone(tmp_path: Path, name: str) -> None:
    elsewhere = make_program(tmp_path / "elsewhere").parent
    (elsewhere / "other.yaml").write_text("beside it")
    user = tmp_path / "user"
    user.mkdir()
    (user / "within.yaml").write_text(CONFIG)
    for link, target in LINKS[name].items():
        (user / link).parent.mkdir(exist_ok=True)
        (user / link).symlink_to(target.format(place=tmp_path))
    reads = "within.yaml" if "same tree" in name else "conf/config.yaml"
    script = f"grep -q 'aggression: 0.75' {reads} && echo '{{\"games\":[1,1,1]}}'"
    settings = command_settings(
        user,
        config_file=str(user / "conf" / "config.yaml"),
        source_dir=str(user),
        evaluate=["/bin/sh", "-c", script],
    )
    folder = tmp_path / "run" / "trials" / "000001"
    folder.mkdir(parents=True)
    played = CommandTarget(trial_spec(settings), folder, ManualControl())
    assert list(played.incumbent(Version("v000001", 1, OTHER_PARAMS, "")).play(77, 3)) == [1, 1, 1]
    played.close()
    assert (elsewhere / "config.yaml").read_text() == (user / "within.yaml").read_text() == CONFIG
    assert (elsewhere / "other.yaml").read_text() == "beside it"
