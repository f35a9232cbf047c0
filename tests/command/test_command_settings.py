from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import ConfigurationError
from supervisor.external.command_settings import as_settings, fill, parse_command

BASE = Path("/home/somebody/spaces")
LEAST: dict[str, Any] = {"config_file": "bot/weights.yaml", "evaluate": ["./bot", "{games}", "{seed}"]}


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_command({**LEAST, **changes}, BASE)
    return caught.value.problems


def test_defaults_and_absolute_paths() -> None:
    settings = parse_command(LEAST, BASE)
    assert settings.config_file == BASE / "bot/weights.yaml"
    assert (settings.timeout_s, settings.block_games) == (600.0, 50)
    assert settings.format == "yaml"
    assert settings.in_place


def test_settings_survive_the_way_through_trial_json() -> None:
    settings = parse_command({**LEAST, "source_dir": "bot", "working_dir": "bot/run", "metrics": ["length"]}, BASE)
    body = json.loads(json.dumps(as_settings(settings)))
    assert parse_command(body, Path("/elsewhere")) == settings


@pytest.mark.parametrize("key", ["build", "evaluate"])
def test_a_config_placeholder_means_copies(key: str) -> None:
    assert not parse_command({**LEAST, key: ["./bot", "--config={config}"]}, BASE).in_place


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        evaluate=["./bot", "{gmaes}"], build=["make", "{seed}"], timeout_s=0, block_games=-1, config_file="weights.txt"
    )
    assert found == [
        "build: {seed} is not filled in; known are {config}, {build}, {python}",
        "evaluate: {gmaes} is not filled in; known are {games}, {seed}, {config}, {out}, {build}, {python}",
        "config_format: the name weights.txt does not tell it; give yaml or json or toml or ini",
        "timeout_s: must be above 0, not 0.0",
        "block_games: must be above 0, not -1",
    ]


def test_unknown_missing_and_ill_typed_keys_are_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_command({"evaluat": ["./bot"], "timeout_s": "soon", "config_file": "a.yaml"}, BASE)
    told = caught.value.problems
    assert told[0] == "evaluat: unknown key; did you mean evaluate?"
    assert told[1].startswith("evaluate: is missing; give the command")
    assert told[2].startswith("timeout_s: ")
    assert "'soon'" in told[2]
    assert len(told) == 3


def test_an_empty_command_is_refused() -> None:
    assert problems(evaluate=[])[0].startswith("evaluate: is empty")


def test_an_unknown_format_is_refused_and_a_known_one_goes_before_the_name() -> None:
    assert "give one of yaml, json, toml, ini" in problems(config_format="xml")[0]
    assert parse_command({**LEAST, "config_format": "ini"}, BASE).format == "ini"


def test_the_configuration_of_a_copied_tree_lies_in_it() -> None:
    assert "must lie in source_dir" in problems(source_dir="other")[0]


def test_only_known_names_in_braces_are_filled_in() -> None:
    assert fill(("--n={games}", '{"a":1}', "{games}{seed}"), {"games": "3", "seed": "9"}) == ["--n=3", '{"a":1}', "39"]
