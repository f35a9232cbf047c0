"""A machine that has no process, thread or descriptor to give: its own fault, not the trial's, and it passes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.errors import TryAgainError
from supervisor.execution.executor import ExitKind
from supervisor.execution.local import LocalExecutor
from supervisor.execution.server_link import ServerLink
from supervisor.search.samplers.gp import GpProcess
from tests.support.trial_folders import run


def refuse(*arguments: object, **options: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_a_refused_trial_is_no_crash_and_the_same_server_starts_the_next(tmp_path: Path) -> None:
    short = LocalExecutor(worker="tests.support.fake_worker", preload=("tests.support.preload_refusing",))
    try:
        server = short.server_pid()
        ends = [run(short, tmp_path, "result") for _ in range(5)]
        assert [end.kind for end in ends] == [ExitKind.REFUSED] * 4 + [ExitKind.DONE]
        assert "Too many open files" in ends[0].detail
        assert "Resource temporarily unavailable" in ends[1].detail
        assert "Cannot allocate memory" in ends[2].detail
        assert "can't start new thread" in ends[3].detail
        assert short.server_pid() == server
    finally:
        short.close()


def test_a_fork_server_that_cannot_be_made_is_for_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(TryAgainError, match="Resource temporarily unavailable; look for too many processes"):
        ServerLink((), threads=1)
    assert os.listdir("/proc/self/fd") == before


def test_a_samplers_helper_that_cannot_be_made_is_for_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(TryAgainError, match="Resource temporarily unavailable; look for too many processes"):
        GpProcess().draw([], {}, 1)
