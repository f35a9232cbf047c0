"""A proposal that is thought about for minutes: trials that run meanwhile are looked after as ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from supervisor.commands import run
from supervisor.execution.gpu import Gpu
from supervisor.execution.ladder import Patience
from supervisor.execution.local import LocalExecutor
from supervisor.loop import Supervisor
from tests.support.command_line import NoopFolder
from tests.support.trial_folders import PATIENCE_S, begin, gone_within


class Thinking:
    """A proposer that is never asked and only lets a test think in its place."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile

    def close(self) -> None:
        pass


def of_fake_trials(slots: int, patience: Patience, gpus: Sequence[Gpu]) -> LocalExecutor:
    return LocalExecutor(slots, "tests.support.fake_worker", (), patience, gpus=gpus)


def test_a_trial_that_has_to_go_is_made_to_go_while_a_proposal_is_thought_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def think(supervisor: Supervisor, requests_only: bool) -> bool:
        parts = supervisor._parts
        handle, pid = begin(parts.executor, tmp_path / "trial", "obey_sigterm")
        parts.executor.stop(handle)  # asks; what follows takes further looks at the trial
        assert isinstance(parts.proposer, Thinking)
        deadline_s = time.monotonic() + PATIENCE_S
        while not gone_within(pid, 0.05):
            assert time.monotonic() < deadline_s, "the trial goes on"
            parts.proposer.meanwhile()
        return False

    folder = NoopFolder.make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("tests.support.command_line._inline", of_fake_trials)
        patch.setattr(run, "_patience", lambda settings: Patience(ask_s=0.0))
        patch.setattr(run, "Proposer", Thinking)
        patch.setattr(Supervisor, "run", think)
        answer = folder.call_with_config("run")
    assert answer.code == 0, answer.err
