"""A run whose incumbent outgrows its opponent: lines, events, measurements, and the same after kills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import Tally
from supervisor.journal.log import read_log
from supervisor.record import Record
from tests.support.small_run import SmallRun, definition

KEY = "aggressive/noop"
ITERATIONS = 24


def levelled(base: Path, window: int = 1, **curriculum: object) -> SmallRun:
    base.mkdir(parents=True, exist_ok=True)
    known = replace(definition(KEY), kind="tests.support.levelled:LevelledTarget", level=2, levels=5)
    settings = {"curriculum": {"min_games": 50, **curriculum}, "promotion": {"contenders": "screened"}}
    return SmallRun(base / "run", (KEY,), window, settings, definitions={KEY: known})


def lines(run: SmallRun) -> Sequence[Record]:
    return read_log(run.run_dir).records


def without_time(run: SmallRun) -> list[Record]:
    return [replace(line, time={}) for line in lines(run)]


def test_the_level_rises_with_a_line_and_an_event_and_the_incumbent_is_measured_again(tmp_path: Path) -> None:
    run = levelled(tmp_path)
    state = run.run(ITERATIONS)
    found = lines(run)
    levels = [line.level for line in found]
    assert levels == sorted(levels)
    assert levels[0] == 2
    assert state.target(KEY).next_level >= 3
    rises = [line for line in found if line.next_level > line.level]
    assert [line.next_level for line in rises] == list(range(3, 3 + len(rises)))
    assert len([text for text in run.said if "level_raised" in text]) == len(rises)
    assert any("level 2 -> 3" in text for text in run.said)
    for line in rises:
        assert line.best_win_rate is not None
        assert line.best_win_rate >= 0.8
        after = next((other for other in found if other.iteration == line.iteration + 1), None)
        if after is None:
            continue
        assert after.level == line.next_level
        assert after.pool.games == 50 or after.promoted
        assert after.best_win_rate is not None
        assert after.best_win_rate < line.best_win_rate


def test_switched_off_the_level_stays(tmp_path: Path) -> None:
    run = levelled(tmp_path, enabled=False)
    run.run(ITERATIONS)
    assert {(line.level, line.next_level) for line in lines(run)} == {(2, 2)}
    assert not [text for text in run.said if "level_raised" in text]


@pytest.mark.parametrize(("window", "workers"), [(1, 1), (4, 1), (4, 3)])
def test_in_pieces_and_with_several_at_a_time_it_rises_at_the_same_lines(
    tmp_path: Path, window: int, workers: int
) -> None:
    whole = levelled(tmp_path / "whole", window)
    whole.run(ITERATIONS)
    pieces = levelled(tmp_path / "pieces", window)
    for end in range(1, ITERATIONS + 1, 2):
        pieces.run(end, slots=workers)
    pieces.run(ITERATIONS, slots=workers)
    assert without_time(pieces) == without_time(whole)
    assert lines(whole)[-1].level > 2


def test_going_back_to_a_version_of_a_lower_level_measures_it_at_todays(tmp_path: Path) -> None:
    from supervisor.journal import requests
    from supervisor.journal.requests import Action, Request

    run = levelled(tmp_path)
    before = run.run(ITERATIONS).target(KEY)
    assert before.history
    requests.drop(run.run_dir, Request("a" * 32, 1, Action.ROLLBACK, KEY, before.history[0], {}, None))
    after = run.run(ITERATIONS + 1).target(KEY)
    assert (after.level, after.next_level) == (before.level, before.next_level)
    assert after.pool in (Tally(), before.pools.get(before.history[0]))
    last = run.run(ITERATIONS + 2).target(KEY)
    assert last.pool.games >= 50
