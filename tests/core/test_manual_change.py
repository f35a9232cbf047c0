"""A manual change is judged when its line comes; when it was proposed does not show."""

import itertools

from supervisor.contract import Reason
from supervisor.execution.resources import Admission
from supervisor.journal import requests
from supervisor.journal.log import read_log
from supervisor.journal.requests import Action, Request
from tests.support.small_run import SmallRun, comparable

TARGET = "mage/noop"


def changed_by_hand(run_dir, slots):
    """Two better configurations and a rollback, proposed in a row; with slots enough before any of them has run."""
    run = SmallRun(run_dir, window=8)
    run.run(10)
    for number, skill in enumerate((0.75, 1.0), start=1):
        requests.drop(run_dir, Request(f"try-{number}", number, Action.ENQUEUE, TARGET, params={"skill": skill}))
    requests.drop(run_dir, Request("back", 3, Action.ROLLBACK, TARGET))
    one_each_turn = itertools.cycle([True, False])
    run.run(14, slots=slots, admission=lambda: Admission(next(one_each_turn), ""))
    return read_log(run_dir).records


def test_a_rollback_proposed_before_its_version_was_made_goes_there_all_the_same(tmp_path):
    early = changed_by_hand(tmp_path / "early", slots=4)
    assert [line.requests for line in early[10:13]] == [("try-1",), ("try-2",), ("back",)]
    assert [line.promoted for line in early[10:12]] == [True, True]
    assert (early[12].decision.reason, early[12].version) == (Reason.MANUAL_ROLLBACK, "v000011")
    assert comparable(early) == comparable(changed_by_hand(tmp_path / "late", slots=1))
