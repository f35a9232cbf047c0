"""Where a setting comes from, and what is said when it is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.config.load import Loaded, load_settings, read_settings
from supervisor.config.settings import Settings, walk
from supervisor.errors import ConfigurationError


def file(tmp_path: Path, text: str, mode: int = 0o644) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Loaded:
    return load_settings(path, environ or {}, flags or {})


def problems(
    path: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ, flags)
    return caught.value.problems


def test_without_a_file_every_setting_has_its_default_and_says_so() -> None:
    loaded = load()
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert set(loaded.sources) == {name for name, _, _ in walk(Settings())}


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    path = file(tmp_path, "run:\n  games: 1\n  workers: 1\n  seed: 1\n")
    environ = {"INCUMBENT_RUN__GAMES": "2", "INCUMBENT_RUN__WORKERS": "2"}
    loaded = load(path, environ, {"run.games": 3, "run.max_iterations": None})
    run = loaded.settings.run
    assert (run.games, run.workers, run.seed, run.checkpoint_interval) == (3, 2, 1, 10)
    assert loaded.sources["run.games"] == "flag --games"
    assert loaded.sources["run.workers"] == "environment INCUMBENT_RUN__WORKERS"
    assert loaded.sources["run.seed"] == f"file {path}:4:9"
    assert loaded.sources["run.max_iterations"] == "default"


def test_five_different_mistakes_are_all_reported_with_file_line_column_and_what_to_do(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "run:\n"
        "  seeed: 7\n"  # unknown key
        "  games: many\n"  # wrong type
        "promotion:\n"
        "  alpha: 1.5\n"  # impossible value
        "  mode: automatic\n"  # no such choice
        "  mode: manual\n"  # stands twice
        "searching:\n"  # unknown section
        "  sampler: tpe\n",
    )
    assert problems(path) == [
        f"{path}:2:3: run.seeed: unknown key; did you mean 'seed'?",
        f"{path}:3:10: run.games: 'many' is no good here; give a whole number",
        f"{path}:5:10: promotion.alpha: 1.5 is out of range; give a number below 1.0",
        f"{path}:6:9: promotion.mode: 'automatic' is not one of auto, manual; did you mean 'auto'?",
        f"{path}:7:3: promotion.mode: stands twice (first in line 6); keep one of them",
        f"{path}:8:1: searching: unknown key; did you mean 'search'?",
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("games: 3", "1:1", "belongs under 'run'"),
        ("run:\n  min_win_rate: 0.2", "2:3", "belongs under 'promotion.guards'"),
        ("run: 5", "1:6", "give a mapping"),
        ("run:\n  port: 80", "2:3", "belongs under 'serving'"),
        ("run:\n  qqqq: 80", "2:3", "known here: baseline_games"),
        ("run:\n  seed: -1", "2:9", "at least 0"),
        ("run:\n  seed: 1.5", "2:9", "a whole number"),
        ("run:\n  seed: yes", "2:9", "'yes' is no good here"),
        ("run:\n  seed: true", "2:9", "true is no good here"),
        ("run:\n  seed:", "2:8", "no value; give a whole number"),
        ("run:\n  run_id: 42", "2:11", "in quotes"),
        ("run:\n  run_id: ../../etc", "2:11", "letters, digits"),
        ("run:\n  targets: []", "2:12", "at least one"),
        ("run:\n  targets: a/b", "2:12", "give a list"),
        ("run:\n  targets: [a/b, 3]", "2:18", "give text"),
        ("search:\n  sampler: spsaa", "2:12", "did you mean 'spsa'?"),
        ("search:\n  sampler: 'mod:1'", "2:12", "module:Class"),
        ("search:\n  on_stagnation: [tpe, gpp]", "2:24", "did you mean 'gp'?"),
        ("search:\n  magnitude: .nan", "2:14", "finite"),
        ("search:\n  magnitude: .inf", "2:14", "finite"),
        ("promotion:\n  guards:\n    min_win_rate: 20", "3:19", "at most 1.0"),
        ("resources:\n  pause_on_high_load: 1", "2:23", "true or false"),
        ("serving:\n  port: 70000", "2:9", "at most 65535"),
        ("serving:\n  port: 8081\n  admin_port: 8081", "3:15", "8081 is serving.port too; give it a port of its own"),
        ("serving: {admin_port: 8080}", "1:23", "8080 is serving.port too; give it a port of its own"),
        ("serving: {admin_host: ''}", "1:23", "empty text"),
        ("targets:\n  a/b: {param: {}}", "2:9", "did you mean 'params'?"),
        ("targets:\n  a/b:\n    params: {x: [1]}", "3:17", "a number, true, false or text"),
        ("targets:\n  a/b:\n    params: {x: .nan}", "3:17", "finite"),
        ("targets:\n  a/b:\n    params: {x: }", "3:16", "no value"),
        ("targets:\n  a/b:\n    steps: 0", "3:12", "at least 1"),
    ],
)
def test_a_mistake_names_its_place_and_what_to_do(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = file(tmp_path, text)
    [problem] = problems(path)
    assert problem.startswith(f"{path}:{place}: ")
    assert words in problem
    assert re.search(r"[;?]", problem)


def test_every_setting_refuses_a_mapping_where_it_wants_a_value(tmp_path: Path) -> None:
    for name, _, _ in walk(Settings()):
        *sections, key = name.split(".")
        text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
        [problem] = problems(file(tmp_path, f"{text}{'  ' * len(sections)}{key}: {{a: 1}}\n"))
        assert f": {name}: " in problem, problem


def test_mistakes_of_file_environment_and_flags_are_reported_together(tmp_path: Path) -> None:
    path = file(tmp_path, "run:\n  seed: x\n")
    environ = {"INCUMBENT_RUN__WORKERS": "two", "INCUMBENT_RUN__SED": "1", "INCUMBENT_HOME": "/", "OTHER__X": "1"}
    found = problems(path, environ, {"run.checkpoint_interval": 0, "run.nothing": 3})
    assert len(found) == 5
    assert found[0].startswith(f"{path}:2:9: run.seed: ")
    rest = "\n".join(found[1:])
    assert "environment INCUMBENT_RUN__WORKERS: run.workers: 'two' is no good here; give a whole number" in rest
    assert "environment INCUMBENT_RUN__SED: no setting has this name; did you mean 'INCUMBENT_RUN__SEED'?" in rest
    assert "flag --checkpoint-interval: run.checkpoint_interval: 0 is out of range" in rest
    assert "flag --nothing: run.nothing: unknown key" in rest


def test_a_wrong_value_that_a_flag_replaces_is_no_mistake_of_the_run(tmp_path: Path) -> None:
    path = file(tmp_path, "run:\n  seed: x\n")
    assert load(path, flags={"run.seed": 4}).settings.run.seed == 4


def test_a_scalar_where_a_section_belongs_is_reported_though_a_flag_goes_into_that_section(tmp_path: Path) -> None:
    path = file(tmp_path, "run: 5\n")
    assert problems(path, flags={"run.seed": 4}) == [
        f"{path}:1:6: run: 5 is no good here; give a mapping of keys to values"
    ]


def test_text_of_environment_and_flags_is_read_as_its_setting_wants_it() -> None:
    environ = {
        "INCUMBENT_RUN__TARGETS": "tank/*, mage/combat_dqn",
        "INCUMBENT_RUN__RUN_ID": "123",
        "INCUMBENT_PROMOTION__ALPHA": "1e-2",
        "INCUMBENT_RUN__MAX_ITERATIONS": "null",
        "INCUMBENT_RESOURCES__PAUSE_ON_HIGH_LOAD": "false",
        "INCUMBENT_PROMOTION__GUARDS__MIN_WIN_RATE": "0.4",
    }
    settings = load(None, environ, {"search.on_stagnation": "[tpe, gp]", "run.search_spaces": Path("mine")}).settings
    assert settings.run.targets == ("tank/*", "mage/combat_dqn")
    assert settings.run.run_id == "123"
    assert settings.promotion.alpha == 0.01
    assert settings.run.max_iterations is None
    assert settings.resources.pause_on_high_load is False
    assert settings.promotion.guards.min_win_rate == 0.4
    assert settings.search.on_stagnation == ("tpe", "gp")
    assert settings.run.search_spaces == Path("mine")


def test_a_number_without_fraction_is_whole_however_it_is_written(tmp_path: Path) -> None:
    settings = load(file(tmp_path, "run: {games: 1e2}\nbudgets: {steps: 2.0e5}\n")).settings
    assert (settings.run.games, settings.budgets.steps) == (100, 200_000)
    assert isinstance(settings.budgets.steps, int)


def test_a_path_in_a_file_is_seen_from_that_file(tmp_path: Path) -> None:
    path = file(tmp_path, "run: {search_spaces: mine}\n")
    assert load(path).settings.run.search_spaces == tmp_path / "mine"


def test_an_empty_section_is_no_mistake(tmp_path: Path) -> None:
    assert load(file(tmp_path, "run:\npromotion:\n  guards:\n")).settings == Settings()


def test_the_release_preset_fills_in_what_the_file_leaves_open(tmp_path: Path) -> None:
    loaded = load(file(tmp_path, "promotion:\n  guards: {preset: release, max_latency_ms: 9}\n"))
    guards = loaded.settings.promotion.guards
    assert (guards.min_win_rate, guards.min_reward, guards.min_entropy_bits) == (0.7, 100.0, 2.0)
    assert (guards.min_explained_variance, guards.max_latency_ms) == (0.8, 9.0)
    assert loaded.sources["promotion.guards.min_win_rate"] == "preset release"


def test_a_secret_in_a_file_that_others_may_read_is_refused_and_never_repeated(tmp_path: Path) -> None:
    path = file(tmp_path, "serving:\n  token: hunter2\n")
    [problem] = problems(path)
    assert problem.startswith(f"{path}:2:10: serving.token: ")
    assert "chmod 600" in problem
    assert "INCUMBENT_SERVING__TOKEN" in problem
    assert "hunter2" not in problem


def test_a_secret_in_an_owners_own_file_or_in_the_environment_is_taken(tmp_path: Path) -> None:
    for loaded in (
        load(file(tmp_path, "serving:\n  token: hunter2\n", mode=0o600)),
        load(None, {"INCUMBENT_SERVING__TOKEN": "hunter2"}),
    ):
        assert loaded.settings.serving.token is not None
        assert loaded.settings.serving.token.get_secret_value() == "hunter2"
        assert "hunter2" not in repr(loaded)


def test_a_secret_of_the_wrong_type_is_not_repeated(tmp_path: Path) -> None:
    [problem] = problems(file(tmp_path, "serving:\n  token: 918273\n", mode=0o600))
    assert "918273" not in problem


@pytest.mark.parametrize(("token", "place"), [("hunter2\nadmin", 8), ("hunter2\u20ac", 8), ("\x7fhunter2", 1)])
def test_a_token_that_no_header_can_carry_is_refused_and_never_repeated(tmp_path: Path, token: str, place: int) -> None:
    text = f"serving:\n  token: {json.dumps(token)}\n"
    for problem in (
        *problems(file(tmp_path, text, mode=0o600)),
        *read_settings(None, {"INCUMBENT_SERVING__TOKEN": token}, {})[1],
    ):
        assert f"serving.token: character {place} of the token is " in problem
        assert problem.endswith("; use one line of printable ASCII")
        assert "hunter2" not in problem


def test_white_space_around_a_token_is_not_part_of_it() -> None:
    token = load(None, {"INCUMBENT_SERVING__TOKEN": " hunter2\r\n"}).settings.serving.token
    assert token is not None
    assert token.get_secret_value() == "hunter2"


def test_settings_do_not_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().settings.run.seed = 3  # type: ignore[misc]


def test_what_decides_covers_results_and_nothing_else() -> None:
    decides = Settings().decides()
    assert {"run.seed", "run.games", "search.sampler", "promotion.alpha", "budgets.steps"} <= set(decides)
    assert not {"run.workers", "run.max_iterations", "run.run_id", "serving.port", "budgets.ram_mb"} & set(decides)
    assert load(flags={"run.max_iterations": 9, "run.workers": 2}).settings.decides() == decides
    assert load(flags={"promotion.guards.min_win_rate": 0.3}).settings.decides() != decides


def test_what_is_wrong_keeps_its_default_so_that_the_rest_can_be_checked(tmp_path: Path) -> None:
    loaded, found = read_settings(file(tmp_path, "run: {seed: x, games: 7}\n"), {}, {})
    assert len(found) == 1
    assert (loaded.settings.run.seed, loaded.settings.run.games) == (0, 7)
    assert loaded.sources["run.seed"] == "default"
