"""The founding document's lines for monitoring and statistics, typed in a folder where a real supervisor has worked."""

import json
import re

import pytest
import yaml

from tests.support.command_line import TARGETS
from tests.support.shell import shell, shell_json

FOLDER = "nn_training_results"
DOCUMENTED = {
    "schema",
    "run_id",
    "iteration",
    "target",
    "archetype",
    "model_type",
    "study",
    "trial",
    "sampler",
    "seed",
    "level",
    "params",
    "changed",
    "status",
    "reason",
    "games",
    "wins",
    "draws",
    "losses",
    "win_rate",
    "best_win_rate",
    "improvement",
    "delta",
    "promoted",
    "version",
    "model_sha256",
    "weights_sha256",
    "decision",
    "guards",
    "steps",
    "metrics",
    "rollbacks",
    "time",
    "chain",
}


@pytest.fixture(scope="module")
def place(finished_run, tmp_path_factory):
    """A working folder laid out as the document has it: the run's folder beside its configuration."""
    base = tmp_path_factory.mktemp("place")
    (base / FOLDER).symlink_to(finished_run.run_dir)
    (base / "config.yaml").symlink_to(finished_run.run_dir / "config.yaml")
    return base


@pytest.fixture(scope="module")
def lines(finished_run):
    return finished_run.lines()


def test_the_latest_iterations_as_a_table(place, lines):
    out = shell(
        f"tail -20 {FOLDER}/training_log.jsonl | jq -r '[.iteration, .win_rate, .best_win_rate] | @tsv'", cwd=place
    )
    rows = [[float(cell) for cell in row.split("\t")] for row in out.splitlines()]
    assert rows == [[line.iteration, line.win_rate, line.best_win_rate] for line in lines]


def test_the_best_configuration(place, lines):
    best = yaml.safe_load(shell("cat config.yaml", cwd=place))
    for target in TARGETS:
        promoted = [line for line in lines if line.target == target and line.promoted][-1]
        assert best["targets"][target]["params"] == promoted.params


def test_the_checkpoint_holds_iteration_best_configuration_best_win_rate_and_total_games(place, lines):
    checkpoint = shell_json(f"cat {FOLDER}/checkpoint.json | jq", cwd=place)
    assert checkpoint["iteration"] == 12
    assert checkpoint["total_games"] == sum(line.games for line in lines)
    best = {target: [line for line in lines if line.target == target][-1].best_win_rate for target in TARGETS}
    assert checkpoint["best_target"] == max(best, key=best.get)
    assert checkpoint["best_win_rate"] == best[checkpoint["best_target"]]
    last = [line for line in lines if line.target == checkpoint["best_target"] and line.promoted][-1]
    assert checkpoint["best_config"] == last.params


def test_watching_the_console_log(place, lines):
    out = shell(f"tail -n 50 {FOLDER}/training_*.log", cwd=place)
    assert f"New run {lines[0].run_id}" in out
    assert re.search(r"#12 +mage/noop  spsa  win \d+\.\d %", out)
    assert "Saved at iteration 12: the limit is reached; a higher --max-iterations goes on from here" in out


def test_watching_iteration_results_in_colour(place):
    out = shell(f"tail -n 3 {FOLDER}/training_log.jsonl | jq -C", cwd=place)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert plain != out
    assert re.findall(r'"iteration": (\d+),', plain) == ["10", "11", "12"]


def test_counting_iterations(place):
    assert shell(f"wc -l {FOLDER}/training_log.jsonl", cwd=place).split()[0] == "12"


def test_finding_the_best_iteration(place, lines):
    best = shell_json(f"cat {FOLDER}/training_log.jsonl | jq -s 'max_by(.win_rate)'", cwd=place)
    assert best["win_rate"] == max(line.win_rate for line in lines)
    assert best["params"].keys() == {"skill", "other", "whole"}


def test_counting_improvements(place, lines):
    count = shell_json(
        f"cat {FOLDER}/training_log.jsonl | jq -s '[.[] | select(.improvement > 0)] | length'", cwd=place
    )
    proven = [line for line in lines if line.is_promotion_by_test]
    assert count == len(proven) > 0


def test_the_average_win_rate(place, lines):
    average = shell_json(f"cat {FOLDER}/training_log.jsonl | jq -s '[.[].win_rate] | add / length'", cwd=place)
    assert average == pytest.approx(sum(line.win_rate for line in lines) / len(lines))


def test_each_line_is_one_json_object_with_every_documented_field(place):
    for text in (place / FOLDER / "training_log.jsonl").read_text().splitlines():
        line = json.loads(text)
        assert line.keys() >= DOCUMENTED
        assert text == json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
