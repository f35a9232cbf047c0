"""A wish to stop that comes while a proposal is thought about: nothing of it was durable, so nothing is lost."""

import pytest

from supervisor.journal.log import read_log
from supervisor.search.policy import Proposer
from supervisor.signals import StopAsked
from tests.support.small_run import SmallRun, comparable


def test_the_run_leaves_with_its_state_saved_and_goes_on_as_if_it_had_not_been_stopped(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    undisturbed = SmallRun(tmp_path / "undisturbed")
    undisturbed.run(9)
    propose, asked = Proposer.propose, []

    def stopped_at_the_fourth(self, request):
        asked.append(request.iteration)
        if len(asked) == 4:
            raise StopAsked
        return propose(self, request)

    run = SmallRun(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Proposer, "propose", stopped_at_the_fourth)
        assert run.run(9).iteration == asked[-1] - 1 < 9
    assert (run.run_dir / "checkpoint.json").exists()
    assert not (run.run_dir / "trials" / f"{asked[-1]:06d}").exists()
    run.run(9)
    assert comparable(read_log(run.run_dir).records) == comparable(read_log(undisturbed.run_dir).records)
