"""Work in processes of their own: results, progress, errors, and that none outlives its command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.commands.jobs import Job, run, run_together
from supervisor.errors import TryAgainError, UsageError
from supervisor.tasks import CollectItem, CollectResult, CollectTask, RewardsResults, RewardsTask, RewardsTasks

COLLECT = CollectTask((CollectItem("mage", 1, 5),), "traditional", 50, "")
REFUSED = Job("rewards", RewardsTasks((RewardsTask("mage", 1, {}, 5, 0, data="/no/such/file"),)), RewardsResults)


def test_results_come_in_order_and_progress_is_heard(tmp_path):
    said: list[str] = []
    jobs = []
    for name in ("mage", "tank"):
        (tmp_path / name).mkdir()
        task = replace(COLLECT, items=(CollectItem(name, 1, 5),), output=str(tmp_path / name))
        jobs.append(Job("collect", task, CollectResult))
    found = run_together(jobs, said.append)
    assert [result.files[0].archetype for result in found] == ["mage", "tank"]
    assert sorted(line.split(":")[0] for line in said) == ["mage", "tank"]


def test_an_error_for_the_operator_keeps_its_class_and_a_crash_says_try_again(tmp_path):
    with pytest.raises(UsageError, match="not a file that incumbent collect wrote"):
        run(REFUSED, print)
    with pytest.raises(TryAgainError, match="No such file or directory"):
        run(Job("collect", replace(COLLECT, output=str(tmp_path / "none")), CollectResult), print)
    with pytest.raises(TryAgainError, match="No module named"):
        run(Job("nothing", COLLECT, CollectResult), print)


def test_where_one_fails_the_others_are_ended(tmp_path):
    """The other one would take days."""
    long = replace(COLLECT, samples=10**12, output=str(tmp_path))
    with pytest.raises(UsageError):
        run_together([Job("collect", long, CollectResult), REFUSED], print)
