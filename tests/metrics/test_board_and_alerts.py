"""What `tools/` has for Grafana and Prometheus names metrics that a real run and a real server tell, and no others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from supervisor.config.settings import Settings
from tests.support import onnx_models as models
from tests.support.command_line import NoopFolder
from tests.support.processes import ROOT, console, start, wait_for
from tests.support.promql import labels, metrics
from tests.support.scraping import port_said, read, samples
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

BOARD = ROOT / "tools" / "grafana" / "incumbent.json"
ALERTS = ROOT / "tools" / "prometheus" / "alerts.yml"
SCRAPE = ROOT / "tools" / "prometheus" / "prometheus.yml"
CASES = Path(__file__).with_name("alerts.promtool.yml")
OF_PROMETHEUS = {"up", "job", "instance"}  # what it adds by itself
VARIABLE = re.compile(r"\$(?:__rate_interval|\w+)")


@dataclass
class Told:
    """Names of metrics and of labels with a value."""

    metrics: set[str] = field(default_factory=lambda: {"up"})
    labels: set[str] = field(default_factory=lambda: {"job", "instance"})
    help: dict[str, str] = field(default_factory=dict)

    def add(self, text: str) -> None:
        for key in samples(text):
            name, _, rest = key.partition("{")
            self.metrics.add(name)
            self.labels.update(re.findall(r'(\w+)="', rest))
        self.help |= dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def texts(finished_run: NoopFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What a real run with a dozen lines tells, and a real server that has just swapped a model."""
    folder = finished_run.copy(tmp_path_factory.mktemp("told"))
    process = start(folder.run_dir, *folder.flags, environ={"INCUMBENT_RUN__METRICS_PORT": "0"})
    try:
        wait_for("it says its port", lambda: "metrics on" in console(folder.run_dir))
        run = read(port_said(console(folder.run_dir)))
    finally:
        process.terminate()
        process.wait(timeout=60)
    served = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    served.promote(models.mlp(1))
    with ServerProcess(served.path) as server:
        served.promote(models.mlp(2))
        server.post(f"/reload/{TARGET}")
        served.commit(models.mlp(3))
        server.post(f"/shadow/{TARGET}", {"version": "v000003", "share": 1})
        server.post(f"/infer/{TARGET}", {"state": [0.5] * 64})
        games = [{"version": f"v00000{number}", "score": 1} for number in (1, 2)] * 10
        server.post(f"/outcome/{TARGET}", {"outcomes": games})
        wait_for("the shadow has seen it", lambda: "incumbent_shadow_agreement{" in read(server.port))
        return run, read(server.port)


@pytest.fixture(scope="module")
def told(texts: tuple[str, str]) -> Told:
    told = Told()
    for text in texts:
        told.add(text)
    return told


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def board() -> dict[str, object]:
    return json.loads(BOARD.read_text())


def queries() -> Iterator[tuple[str, str]]:
    """(panel, expression)"""
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = [*((rule["alert"], rule["expr"]) for rule in rules()), *queries()]


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_metric_and_label_is_told_by_a_real_run_or_server(where: str, expression: str, told: Told) -> None:
    named = metrics(expression)
    assert named, where
    assert named <= told.metrics, where
    assert labels(expression) <= told.labels, where


def test_everything_a_run_or_a_server_tells_is_somewhere_on_the_board_and_explained(told: Told) -> None:
    shown = {name for _, expression in queries() for name in metrics(expression)}
    bare = {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in told.metrics - {"up"}}
    assert {name.removesuffix("_bucket") for name in shown} >= bare
    explained = {name.removesuffix("_total") for name in told.help}
    assert {name.removesuffix("_total") for name in bare} <= explained


def test_run_and_server_use_no_name_for_two_things(texts: tuple[str, str]) -> None:
    run, server = ({key.partition("{")[0] for key in samples(text)} for text in texts)
    assert not run & server


def test_the_board_is_one_that_grafana_takes() -> None:
    found = board()
    panels = found["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    assert len({panel["title"] for panel in panels}) == len(panels)
    variables = {variable["name"]: variable for variable in found["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(letters)) == len(letters)
        for part in (panel, *panel.get("targets", ())):
            if panel["type"] != "row":
                assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = set(re.findall(r"\$(?!__)(\w+)", " ".join(expression for _, expression in queries())))
    assert used == set(variables) - {"datasource"}


def test_the_boards_variables_ask_for_metrics_and_labels_that_there_are(told: Told) -> None:
    for variable in board()["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            assert variable["query"]["query"] == variable["definition"]
            assert name in told.metrics
            assert label in told.labels


def test_every_rule_has_a_name_of_its_own_and_says_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"Incumbent[A-Z]\w+", rule["alert"])
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
        assert set(rule["labels"]) == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    assert [set(group) for group in groups] == [{"name", "rules"}] * len(groups)


def test_each_rule_is_tried_on_made_up_series() -> None:
    tried = set(re.findall(r'alertname="(\w+)"', CASES.read_text()))
    assert {rule["alert"] for rule in rules()} == tried


def test_the_scrape_asks_where_run_and_server_listen_by_default() -> None:
    found = yaml.safe_load(SCRAPE.read_text())
    asked = {job["job_name"]: job["static_configs"][0]["targets"] for job in found["scrape_configs"]}
    run, serving = Settings().run, Settings().serving
    assert asked == {
        "incumbent-run": [f"{run.metrics_host}:{run.metrics_port}"],
        "incumbent-server": [f"{serving.host}:{serving.port}"],
    }
    assert found["rule_files"] == [ALERTS.name]
    for rule in rules():
        assert set(re.findall(r'job="([^"]*)"', rule["expr"])) <= set(asked)


def promtool(*arguments: str, given: str | None = None) -> str:
    """What it prints; it must find nothing wrong."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_rules_and_scrape_and_its_cases_hold() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(ALERTS))
    promtool("check", "config", str(SCRAPE))
    assert "SUCCESS" in promtool("test", "rules", str(CASES))


def test_promtool_reads_every_expression_of_the_board(tmp_path: Path) -> None:
    found = [VARIABLE.sub("5m", expression) for _, expression in queries()]
    written = [{"record": f"board:{number}", "expr": expression} for number, expression in enumerate(found)]
    path = tmp_path / "board.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": written}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", str(path))


def test_promtool_finds_nothing_wrong_with_what_a_run_tells(texts: tuple[str, str]) -> None:
    assert promtool("check", "metrics", given=texts[0]) == ""
