"""`incumbent transfer`: two trainings, one from another archetype's weights, judged by the same games."""

from __future__ import annotations

import json

import pytest

from supervisor.commands.transfer import compared
from supervisor.tasks import CourseResult
from tests.support.command_line import call
from tests.support.untrained import folder_of

FLAGS = ("--source-archetype", "aggressive", "--target-archetype", "mage", "--model-type", "combat_dqn")
SHORT = ("--epochs", "1", "--num-episodes", "100")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("transfer") / "run", "aggressive/combat_dqn")


@pytest.mark.usefixtures("inline_jobs")
def test_a_warm_start_is_measured_against_a_cold_one_over_the_same_games(folder):
    answer = call("transfer", "--run-dir", str(folder.path), *FLAGS, *SHORT)
    assert answer.code == 0, answer.err
    assert "warm start" in answer.out
    assert " points (" in answer.out
    report = json.loads((folder.path / "reports" / "transfer.aggressive.mage.combat_dqn.json").read_text())
    assert report["warm"]["steps"] == report["cold"]["steps"] > 0
    assert len(report["warm"]["curve"]) == 4
    assert (report["warm"]["taken_over"], report["cold"]["taken_over"]) == (1.0, 0.0)
    assert report["low"] <= report["difference"] <= report["high"]


@pytest.mark.usefixtures("inline_jobs")
def test_json_is_all_there_is_in_a_pipe_and_equal_seeds_give_equal_figures(folder):
    first, second = (
        json.loads(call("transfer", "--run-dir", str(folder.path), *FLAGS, *SHORT, "--json").out) for _ in range(2)
    )
    for report in (first, second):
        for side in ("warm", "cold"):
            del report[side]["seconds"]
    assert first == second


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--source-archetype", "tank", *FLAGS[2:]), "'tank': no such name"),
        ((*FLAGS[:2], "--target-archetype", "bard", *FLAGS[4:]), "'bard': no such name"),
        ((*FLAGS[:2], "--target-archetype", "aggressive", *FLAGS[4:]), "the same archetype"),
        ((*FLAGS[:5], "combat_dqm"), "combat_dqm"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_there_is(folder, flags, said):
    answer = call("transfer", "--run-dir", str(folder.path), *flags)
    assert answer.code == 2
    assert said in answer.err


def test_the_comparison_is_paired_and_says_how_much_sooner_it_is():
    cold = CourseResult((0.0, 1.0) * 100, ((25, 0.1), (50, 0.2), (75, 0.4), (100, 0.5)), 100, 1.0)
    warm = CourseResult((1.0, 1.0) * 100, ((25, 0.4), (50, 0.6), (75, 0.7), (100, 0.8)), 100, 1.0)
    found = compared(warm, cold)
    assert (found.difference, found.caught_up) == (0.5, 0.5)
    assert found.low > 0
    assert found.verdict == "the warm start is better beyond doubt"
    assert compared(cold, warm).caught_up is None
    assert compared(cold, warm).verdict == "the cold start is better beyond doubt"
    assert compared(cold, cold).verdict == "no difference beyond doubt"
