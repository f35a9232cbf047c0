"""What is shown of the settings, and the `config.yaml` that a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config import marks
from supervisor.config.best import best_config
from supervisor.config.load import load_settings
from supervisor.config.settings import Settings, walk
from supervisor.config.show import render
from supervisor.contract import Scalar, Version
from supervisor.search.setup import load_setup


def version(number: int, **params: Scalar) -> Version:
    return Version(name=f"v{number:06d}", iteration=number, params=params, model_sha256="0" * 64)


def test_every_setting_is_shown_with_value_source_and_whether_it_decides(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("run: {games: 12}\ntargets: {tank/combat_dqn: {params: {dqn.gamma: 0.95}, frequency: low}}\n")
    lines = render(load_settings(path, {"INCUMBENT_RUN__WORKERS": "2"}, {})).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["run.games"] == ["12", "file", f"{path}:1:14", "decides"]
    assert rows["run.workers"] == ["2", "environment", "INCUMBENT_RUN__WORKERS"]
    assert rows["promotion.alpha"] == ["0.05", "default", "decides"]
    assert rows["targets.tank/combat_dqn.params.dqn.gamma"] == ["0.95", "file", f"{path}:2:49", "decides"]
    assert rows["targets.tank/combat_dqn.frequency"][0] == "low"
    assert {name for name, _, _ in walk(Settings())} <= set(rows)


def test_secrets_are_not_shown_but_that_there_is_one_is() -> None:
    environ = {"INCUMBENT_SERVING__TOKEN": "hunter2", "INCUMBENT_SEARCH__STORAGE_URL": "postgresql://u:swordfish@h/d"}
    text = render(load_settings(None, environ, {}))
    assert "hunter2" not in text
    assert "swordfish" not in text
    rows = {line.split()[0]: line.split()[1] for line in text.splitlines()}
    assert rows["serving.token"] == rows["search.storage_url"] == "(secret)"


def test_the_best_configuration_starts_a_new_run_where_the_old_one_stood(tmp_path: Path) -> None:
    old = load_setup(None, {}, {"run.scale": "full"})
    params = {**old.targets["mage/combat_dqn"].defaults(), "dqn.gamma": 0.95, "training.learning_rate": 2e-5}
    path = tmp_path / "config.yaml"
    path.write_bytes(best_config({"mage/combat_dqn": version(42, **params)}, old.settings))
    new = load_setup(path, {}, {})
    assert new.settings.run.scale == "full"
    assert new.targets["mage/combat_dqn"].defaults() == params


def test_the_best_configuration_of_no_target_yet_loads_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(best_config({}, Settings()))
    assert load_setup(path, {}, {}).settings == Settings()


def test_the_best_configuration_is_a_function_of_its_values_and_names_each_version() -> None:
    one, two = version(1, b=2, a=1.5), version(2, x="y")
    assert best_config({"b/b": one, "a/a": two}, Settings()) == best_config(
        {"a/a": two, "b/b": version(1, a=1.5, b=2)}, Settings()
    )
    text = best_config({"b/b": one}, Settings()).decode()
    assert "# b/b: v000001\n" in text


def test_the_users_search_spaces_and_no_secret_go_into_the_best_configuration(tmp_path: Path) -> None:
    environ = {"INCUMBENT_SERVING__TOKEN": "hunter2"}
    settings = load_settings(None, environ, {"run.search_spaces": tmp_path}).settings
    text = best_config({}, settings).decode()
    assert f"search_spaces: {tmp_path}" in text
    assert "hunter2" not in text
    assert "token" not in text


printable = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    printable,
    st.sampled_from(["1e-4", "0x1", "yes", "null", "~", "1:30", "true", "", ".inf", "# a", "- b", "*c", "&d", "12"]),
)


@given(st.dictionaries(st.from_regex(r"p[a-z0-9._-]{0,11}", fullmatch=True), scalars, max_size=6))
def test_every_value_comes_back_from_the_best_configuration_with_its_type(params: dict[str, Scalar]) -> None:
    text = best_config({"g/n": version(1, **params)}, Settings()).decode()
    document = marks.Document(Path("config.yaml"))
    marks.parse(text, document)
    assert document.problems == []
    targets = document.data["targets"]
    assert isinstance(targets, dict)
    assert targets["g/n"] == {"params": params}
    found = targets["g/n"]["params"]  # type: ignore[index,call-overload]
    assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in params.items()}
    assert yaml.safe_load(text)["targets"]["g/n"]["params"] == params  # a reader of YAML 1.1 agrees
