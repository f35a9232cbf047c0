"""Waiting for the process that thinks about a proposal: in turns, with a limit, and no longer than we are wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.search.samplers import gp
from supervisor.search.samplers.gp import GpProcess
from supervisor.signals import StopAsked


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gp, "CHILD", "tests.support.thoughtful")
    monkeypatch.setattr(gp, "TURN_S", 0.05)
    monkeypatch.setenv("THOUGHTFUL_MARKER", str(tmp_path / "marker"))
    return tmp_path / "marker"


def test_a_wish_to_stop_ends_the_wait_and_the_process(marker: Path) -> None:
    thinking: list[int] = []

    def meanwhile() -> None:
        if not thinking and marker.exists() and marker.read_text():
            thinking.append(int(marker.read_text()))
            raise StopAsked

    process = GpProcess(meanwhile)
    with pytest.raises(StopAsked):
        process.draw([], {}, 1)
    with pytest.raises(ProcessLookupError):
        os.kill(thinking[0], 0)
    assert process.draw([], {}, 1) == {"x": 0.5}  # asked again by whoever goes on
    process.close()


def test_a_process_that_thinks_for_too_long_is_replaced_and_turns_go_on_meanwhile(
    marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0

    def meanwhile() -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr(gp, "ANSWER_LIMIT_S", 2.0)
    process = GpProcess(meanwhile)
    assert process.draw([], {}, 1) == {"x": 0.5}
    process.close()
    assert turns >= 40
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)
