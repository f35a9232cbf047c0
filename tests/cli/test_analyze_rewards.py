"""`incumbent analyze-rewards`: the distribution, the gaps and the parts of an archetype's reward."""

from __future__ import annotations

import json

import numpy as np
import pytest

from supervisor.tasks import RewardsTask
from tests.support.command_line import call
from tests.support.untrained import folder_of
from trainers.arena.rewards import TERMS
from trainers.jobs.rewards import analyzed, distribution

pytestmark = pytest.mark.usefixtures("inline_jobs")


def test_of_all_archetypes_there_is_a_table_with_what_their_reward_is_made_of(tmp_path):
    answer = call("analyze-rewards", "--run-dir", str(tmp_path / "none"), "--num-episodes", "20")
    assert answer.code == 0, answer.err
    for archetype, terms in TERMS.items():
        line = next(line for line in answer.out.splitlines() if line.startswith(f"{archetype}: the script; "))
        assert all(term in line for term in terms)
    assert not (tmp_path / "none").exists()


def test_the_incumbent_plays_where_there_is_one(tmp_path):
    folder = folder_of(tmp_path / "run", "aggressive/combat_dqn")
    flags = ("analyze-rewards", "--run-dir", str(folder.path), "--archetype", "aggressive", "--num-episodes", "20")
    found = json.loads(call(*flags, "--json").out)["aggressive"]
    assert found["played_by"] == "the incumbent"
    assert sum(found["terms"].values()) == pytest.approx(1)
    assert found["episodes"]["count"] == 20
    assert json.loads(call(*flags, "--json").out)["aggressive"] == found


def test_a_weight_of_one_term_alone_is_all_of_the_reward():
    rewards = {"reward.damage_dealt": 0, "reward.kills": 0, "reward.deaths": 0}
    found = analyzed(RewardsTask("aggressive", 1, rewards, 20, 5))
    assert found.terms == {"damage_dealt": 0, "kills": 0, "damage_taken": 1.0, "deaths": 0}
    assert found.ticks.quantiles["100"] == 0
    assert 0 < found.zero_share < 1


def test_numbers_that_are_not_finite_are_counted_and_left_out():
    found = distribution(np.array([1.0, 3.0, np.nan, np.inf]))
    assert (found.count, found.not_finite, found.mean, found.sd, found.quantiles["50"]) == (4, 2, 2.0, 1.0, 2.0)


def test_collected_data_is_analyzed_and_what_is_wrong_with_it_is_the_exit_code(tmp_path):
    states = np.zeros((4, 64), np.float32)
    states[2, 3] = np.nan
    rewards, done = np.array([0, 1, 2, 0], np.float32), np.array([0, 1, 0, 1], bool)
    np.savez(tmp_path / "mage.npz", states=states, rewards=rewards, done=done)
    answer = call("analyze-rewards", "--data", str(tmp_path), "--json")
    assert answer.code == 1
    found = json.loads(answer.out)["mage"]
    assert (found["bad_states"], found["zero_share"]) == (1, 0.5)
    assert (found["episodes"]["count"], found["episodes"]["mean"]) == (2, 1.5)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--archetype", "bard"), "'bard': no such name"),
        (("--data", "nothing"), "incumbent collect"),
        (("--num-episodes", "0"), "--num-episodes"),
    ],
)
def test_what_does_not_exist_is_refused(tmp_path, flags, said):
    answer = call("analyze-rewards", "--run-dir", str(tmp_path), *flags)
    assert answer.code == 2
    assert said in answer.err


def test_a_file_of_something_else_is_named(tmp_path):
    (tmp_path / "mage.npz").write_bytes(b"no archive")
    answer = call("analyze-rewards", "--data", str(tmp_path))
    assert answer.code == 2
    assert "not a file that incumbent collect wrote" in answer.err
