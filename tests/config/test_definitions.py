"""Targets from search-space files, the section `targets`, and the mistakes of all of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.config.load import load_settings
from supervisor.config.settings import TargetSettings
from supervisor.errors import ConfigurationError
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.setup import load_setup
from supervisor.search.target import TargetDefinition
from trainers.arena.rewards import TERMS, default_parameters

ARCHETYPE = """\
archetype: calm
level: {small: 2, full: 7}
training: {learning_rate: 2e-4}
parameters:
  reward.peace: {default: 1, low: 0, high: 2}
"""
MODEL = """\
model_type: tiny
kind: my.trainers:Tiny
parameters:
  training.learning_rate: {default: 1e-3, low: 1e-5, high: 1e-1, log: true}
  tiny.depth: {type: int, default: 2, low: 1, high: 4}
fixed: {tiny.seedless: false}
settings: {rows: 4}
scales:
  small: {steps: 10, wall_s: 5, fixed: {tiny.hidden: "8"}}
  full: {steps: 1000, wall_s: 500, fixed: {tiny.hidden: "80"}, defaults: {tiny.depth: 4}, settings: {rows: 8}}
"""
COMMAND = """\
target: bots/rush
kind: command
frequency: high
config_file: bot.ini
evaluate: [python, play.py, "{games}", "{seed}"]
block_games: 20
parameters:
  weights.attack: {low: 0, high: 5}
  weights.defence: {default: 2, low: 0, high: 5}
"""
CUSTOM = """\
target: bots/own
kind: my.module:Own
steps: 7
parameters: {a.b: {default: 1, low: 0, high: 2}}
settings: {anything: [1, two]}
"""


def space_folder(tmp_path: Path, **texts: str) -> Path:
    folder = tmp_path / "spaces"
    given = {"archetypes/calm": ARCHETYPE, "models/tiny": MODEL}
    for name, text in {**given, **{key.replace("__", "/"): text for key, text in texts.items()}}.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def definitions(folder: Path, *patterns: str, scale: str = "small") -> dict[str, TargetDefinition]:
    return load_definitions([folder], patterns or ("*",), scale)


def problems(folder: Path, overrides: Mapping[str, TargetSettings] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_definitions([folder], ["*"], "small", overrides)
    return caught.value.problems


def test_the_built_in_targets_are_six_archetypes_of_the_combat_network() -> None:
    assert list(load_definitions([BUILT_IN], ["*/combat_dqn"], "small")) == [
        f"{archetype}/combat_dqn" for archetype in sorted(TERMS)
    ]


@pytest.mark.parametrize("scale", ["small", "full"])
def test_the_built_in_defaults_are_the_founding_figures(scale: str) -> None:
    found = load_definitions([BUILT_IN], ["*"], scale)
    figures = {
        key.split("/")[0]: (
            target.defaults()["training.learning_rate"],
            target.defaults()["training.exploration_noise"],
        )
        for key, target in found.items()
        if key.endswith("/combat_dqn")
    }
    assert figures["aggressive"] == (4e-4, 0.1)
    assert figures["defensive"] == (2e-4, 0.05)
    assert figures["mage"] == (3.5e-4, 0.12)
    assert figures["ranged"] == (3e-4, 0.1)
    aggressive, tank = found["aggressive/combat_dqn"].defaults(), found["tank/combat_dqn"].defaults()
    assert (aggressive["reward.kills"], aggressive["reward.deaths"], aggressive["reward.scale"]) == (100, -50, 1.5)
    assert (tank["reward.team_weight"], tank["reward.individual_weight"], tank["reward.allies_died"]) == (0.7, 0.3, -80)


@pytest.mark.parametrize("archetype", sorted(TERMS))
def test_the_searched_rewards_are_those_the_arena_knows_with_its_defaults(archetype: str) -> None:
    target = load_definitions([BUILT_IN], [f"{archetype}/combat_dqn"], "small")[f"{archetype}/combat_dqn"]
    rewards = {name: value for name, value in target.space.defaults().items() if name.startswith("reward.")}
    assert rewards == default_parameters(archetype)


def test_the_full_scale_has_the_founding_network() -> None:
    target = load_definitions([BUILT_IN], ["support/combat_dqn"], "full")["support/combat_dqn"]
    params = target.defaults()
    assert params["dqn.hidden"] == "1024,1024,512,512,256,256,128,128,64,64"
    assert (params["dqn.dropout"], params["training.learning_rate"]) == (0.2, 1e-4)


def test_an_archetype_and_a_model_type_make_a_target(tmp_path: Path) -> None:
    folder = space_folder(tmp_path)
    small = definitions(folder)["calm/tiny"]
    full = definitions(folder, scale="full")["calm/tiny"]
    assert (small.archetype, small.model_type, small.kind) == ("calm", "tiny", "my.trainers:Tiny")
    assert small.space.names == ("reward.peace", "tiny.depth", "training.learning_rate")
    assert small.space["training.learning_rate"].default == 2e-4
    assert (small.steps, small.wall_s, small.level, dict(small.settings)) == (10, 5, 2, {"rows": 4})
    assert (full.steps, full.wall_s, full.level, dict(full.settings)) == (1000, 500, 7, {"rows": 8})
    assert (small.space["tiny.depth"].default, full.space["tiny.depth"].default) == (2, 4)
    assert small.fixed == {"tiny.seedless": False, "tiny.hidden": "8"}
    assert small.digest() != full.digest()


def test_a_complete_configuration_is_what_is_searched_and_what_is_fixed(tmp_path: Path) -> None:
    target = definitions(space_folder(tmp_path))["calm/tiny"]
    assert set(target.defaults()) == {*target.space.names, "tiny.seedless", "tiny.hidden"}
    assert target.problems(target.defaults()) == []
    assert len(target.problems({**target.defaults(), "tiny.depth": 9, "other": 1})) == 2
    assert target.complete({"tiny.depth": 9, "tiny.hidden": "old"}) == {**target.defaults(), "tiny.depth": 4}


def test_a_command_takes_missing_defaults_from_the_users_file(tmp_path: Path) -> None:
    folder = space_folder(tmp_path, external__rush=COMMAND)
    (folder / "external" / "bot.ini").write_text("[weights]\nattack = 1.25\ndefence = 4\n")
    target = definitions(folder)["bots/rush"]
    assert target.defaults() == {"weights.attack": 1.25, "weights.defence": 2.0}
    assert (target.kind, target.frequency, target.contenders, target.level) == ("command", "high", "confirmed", 1)
    assert target.settings["config_file"] == str(folder / "external" / "bot.ini")
    assert target.settings["block_games"] == 20


def test_a_commands_digest_stays_when_a_winner_is_written_or_the_folder_moves(tmp_path: Path) -> None:
    folder = space_folder(tmp_path, external__rush=COMMAND)
    (folder / "external" / "bot.ini").write_text("[weights]\nattack = 1.25\ndefence = 4\n")
    before = definitions(folder)["bots/rush"].digest()
    (folder / "external" / "bot.ini").write_text("[weights]\nattack = 4.5\ndefence = 4\n")
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    assert definitions(moved)["bots/rush"].digest() == before
    given = load_definitions([moved], ["*"], "small", {"bots/rush": TargetSettings(params={"weights.attack": 3.0})})
    assert given["bots/rush"].digest() != before
    (moved / "external" / "rush.yaml").write_text(COMMAND.replace("block_games: 20", "block_games: 30"))
    assert definitions(moved)["bots/rush"].digest() != before


def test_a_class_of_the_users_own_is_a_target(tmp_path: Path) -> None:
    folder = space_folder(tmp_path, own=CUSTOM)
    target = definitions(folder)["bots/own"]
    assert (target.kind, target.steps, dict(target.settings)) == ("my.module:Own", 7, {"anything": [1, "two"]})


def test_patterns_choose_targets_and_one_that_matches_nothing_is_a_mistake(tmp_path: Path) -> None:
    folder = space_folder(tmp_path, own=CUSTOM)
    assert list(definitions(folder, "bots/*")) == ["bots/own"]
    with pytest.raises(ConfigurationError, match=r"'calm/tinny' matches no target; did you mean 'calm/tiny'\?"):
        definitions(folder, "calm/tinny")


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "words"),
    [
        ("archetypes/calm", "archetype: calm", "archetype: clam", "1:12", "same name"),
        ("archetypes/calm", "level: {small: 2", "level: {smal: 2", "2:9", "did you mean 'small'?"),
        ("archetypes/calm", "learning_rate: 2e-4", "learning_rat: 2e-4", "3:12", "learning_rate"),
        ("archetypes/calm", "learning_rate: 2e-4", "learning_rate: 2", "3:27", "out of range"),
        ("archetypes/calm", "high: 2", "hi: 2", "5:38", "did you mean 'high'?"),
        ("archetypes/calm", "default: 1, ", "", "5:17", "no default"),
        ("archetypes/calm", "high: 2", "high: -2", "5:44", "low < high"),
        ("archetypes/calm", "high: 2", "high: 2, choices: [1]", "5:56", "remove it, or change type"),
        ("archetypes/calm", ", high: 2", "", "5:3", "missing; give the range"),
        ("archetypes/calm", "reward.peace", "tiny.depth", "5:15", "has it too"),
        ("models/tiny", "default: 2", "default: 2.5", "5:36", "whole number"),
        ("models/tiny", "type: int", "type: integer", "5:22", "did you mean 'int'?"),
        ("models/tiny", "kind: my.trainers:Tiny", "kind: tiny", "2:7", "does not fit"),
        ("models/tiny", "small: {steps: 10", "small: {step: 10", "9:11", "did you mean 'steps'?"),
        ("models/tiny", "steps: 10,", "", "9:3", "missing; add it"),
        ("models/tiny", "tiny.depth: 4", "tiny.deep: 4", "10:86", "did you mean 'tiny.depth'?"),
        ("models/tiny", "tiny.depth: 4", "tiny.depth: 40", "10:87", "out of range"),
        ("models/tiny", 'tiny.hidden: "8"', "tiny.depth: 1", "9:53", "searched as well"),
        ("external/rush", "kind: command", "kind: comand", "2:7", "does not fit"),
        ("external/rush", "block_games: 20", "block_game: 20", "6:1", "did you mean block_games?"),
        ("external/rush", "config_file: bot.ini", "config_file: nowhere.ini", "4:14", "correct the path"),
        ("external/rush", "weights.attack", "weights.attak", "8:18", "no default, and"),
        ("external/rush", "{games}", "{gamez}", "5:1", "not filled in"),
        ("external/rush", "bots/rush", "bots", "1:9", "does not fit"),
        ("external/rush", "block_games: 20", "fixed: {a: 1}", "6:8", "a command has none"),
        ("external/rush", "bots/rush", "calm/tiny", "1:1", "defined elsewhere too"),
    ],
)
def test_a_mistake_in_any_file_names_its_place_and_what_to_do(
    tmp_path: Path, name: str, old: str, new: str, place: str, words: str
) -> None:
    folder = space_folder(tmp_path, external__rush=COMMAND)
    (folder / "external" / "bot.ini").write_text("[weights]\nattack = 1.25\ndefence = 4\n")
    path = folder / f"{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = problems(folder)
    at = f"{path}:{place}: "
    assert any(problem.startswith(at) and words in problem for problem in found), found


def test_mistakes_in_several_files_and_in_the_settings_are_one_list(tmp_path: Path) -> None:
    folder = space_folder(tmp_path)
    (folder / "models" / "tiny.yaml").write_text(MODEL.replace("type: int", "type: integer"))
    (folder / "archetypes" / "calm.yaml").write_text(ARCHETYPE.replace("high: 2", "high: x"))
    path = tmp_path / "settings.yaml"
    path.write_text(
        "run: {seed: x, search_spaces: spaces}\n"
        "targets:\n"
        "  tank/combat_dqm: {}\n"
        "  tank/combat_dqn:\n"
        "    params:\n"
        "      dqn.gama: 0.9\n"
        "      dqn.gamma: 9\n"
        "      dqn.hidden: 12\n"
        "      reward.kills: 3\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_setup(path, {}, {"run.targets": "tank/*, nobody/*"})
    found = caught.value.problems
    assert [problem.split(": ")[0] for problem in found[:1]] == [f"{path}:1:13"]
    for place, words in [
        (f"{path}:3:20", "did you mean 'tank/combat_dqn'?"),
        (f"{path}:6:17", "did you mean 'dqn.gamma'?"),
        (f"{path}:7:18", "out of range"),
        (f"{path}:8:19", "give a value like '128,128'"),
        (f"{path}:9:21", "no such parameter of this target"),
        (f"{folder}/models/tiny.yaml:5:22", "did you mean 'int'?"),
        (f"{folder}/archetypes/calm.yaml:5:44", "give a number"),
        ("flag --targets", "'nobody/*' matches no target"),
    ]:
        assert any(problem.startswith(f"{place}: ") and words in problem for problem in found), (place, found)
    assert len(found) == 9


def test_the_settings_section_moves_the_start_of_what_its_key_matches(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "targets:\n"
        "  tank/combat_dqn: {params: {dqn.gamma: 0.95}, frequency: low, steps: 5}\n"
        "  '*/combat_dqn': {params: {dqn.gamma: 0.97, dqn.hidden: '8,8', reward.kills: 50}}\n"
        "budgets: {steps: 77, wall_s: 9}\n"
    )
    targets = load_setup(path, {}, {}).targets
    tank, mage = targets["tank/combat_dqn"], targets["mage/combat_dqn"]
    assert (tank.space["dqn.gamma"].default, mage.space["dqn.gamma"].default) == (0.95, 0.97)
    assert tank.fixed["dqn.hidden"] == mage.fixed["dqn.hidden"] == "8,8"
    assert mage.space["reward.kills"].default == 50
    assert (tank.frequency, mage.frequency) == ("low", "high")
    assert (tank.steps, mage.steps, mage.wall_s) == (5, 77, 9)


def test_what_a_run_is_depends_on_what_decides_and_on_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("targets: {tank/combat_dqn: {params: {dqn.gamma: 0.95}}}\n")
    plain = load_setup(None, {}, {}).decides()
    assert load_setup(None, {}, {"run.workers": 2, "run.max_iterations": 3, "budgets.ram_mb": 999}).decides() == plain
    changed = load_setup(path, {}, {}).decides()
    assert [name for name in plain if plain[name] != changed[name]] == ["targets.tank/combat_dqn"]


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such folder of search spaces"):
        load_setup(None, {}, {"run.search_spaces": tmp_path / "gone"})


def test_a_users_folder_is_read_besides_the_built_in_ones(tmp_path: Path) -> None:
    folder = space_folder(tmp_path, own=CUSTOM)
    targets = load_setup(None, {}, {"run.search_spaces": folder, "run.targets": "bots/*,*/tiny"}).targets
    assert "bots/own" in targets
    assert "tank/tiny" in targets
    assert load_settings(None, {}, {"run.search_spaces": str(folder)}).settings.run.search_spaces == folder
