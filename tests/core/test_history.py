"""What samplers learn from is read from the log when one of them asks, and kept small."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial

import pytest

from supervisor.history import IDLE_LINES, Daily, History, Lazily
from supervisor.memory import Memory
from supervisor.record import Record
from supervisor.search import study
from supervisor.search.policy import Proposer
from supervisor.state import State
from tests.support.lines import TARGET, floats, line, line_of, mixed_space, observed, request, settings
from tests.support.records import make_record

OTHER = "mage/combat_dqn"


class Log:
    """Lines, and how often they were read."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = list(records)
        self.reads: list[bytes] = []

    def __call__(self, needle: bytes) -> Iterable[Record]:
        self.reads.append(needle)
        return list(self.records)


def lines(count: int, first: int = 1) -> list[Record]:
    """Of two targets in turn."""
    return [make_record(iteration, OTHER if iteration % 2 else TARGET) for iteration in range(first, first + count)]


def iterations(found: Iterable[object]) -> list[int]:
    return [each.iteration for each in found]  # type: ignore[attr-defined]


def test_a_target_is_read_once_and_kept_current() -> None:
    log = Log(lines(6))
    history = History(log)
    assert iterations(history.of(TARGET, None)) == [2, 4, 6]
    for record in lines(4, first=7):
        history.add(record)
    assert iterations(history.of(TARGET, None)) == [2, 4, 6, 8, 10]
    assert log.reads == [b'"target":"aggressive/combat_dqn"']


def test_of_a_target_that_nobody_asks_for_any_more_nothing_is_kept() -> None:
    log = Log(lines(2))
    history = History(log)
    history.of(TARGET, None)
    for record in lines(2 * IDLE_LINES + 2, first=3):
        log.records.append(record)
        history.add(record)
    assert history._seen == {}
    assert len(history.of(TARGET, None)) == IDLE_LINES + 2
    assert len(log.reads) == 2


def test_no_more_lines_are_kept_than_were_asked_for_and_more_are_read_when_they_are() -> None:
    log = Log(lines(40))
    history = History(log)
    assert iterations(history.of(TARGET, 3)) == [36, 38, 40]
    for record in lines(40, first=41):
        log.records.append(record)
        history.add(record)
        held = history.of(TARGET, 3)
        assert 3 <= len(held) <= 6
        assert len(log.reads) == 1
    assert iterations(held)[-3:] == [76, 78, 80]
    assert len(history.of(TARGET, None)) == 40


def test_lines_that_somebody_just_removed_from_the_log_are_there_and_gone_once_it_is_said() -> None:
    log = Log(lines(6)[:3])
    history = History(log)
    assert iterations(history.of(TARGET, None, newest=lines(6)[3:])) == [2, 4, 6]
    assert iterations(history.of(TARGET, None)) == [2, 4, 6]
    history.forget()
    assert iterations(history.of(TARGET, None)) == [2]


def test_a_proposal_sees_only_lines_outside_its_window() -> None:
    log = Log(lines(20))
    memory = Memory(4, [State(iteration=20)], [], log)
    assert iterations(memory.history_for(21, TARGET)) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert iterations(memory.history_for(21, TARGET, limit=2))[-2:] == [14, 16]
    fresh = Memory(4, [State(iteration=20)], [], log)
    assert iterations(fresh.history_for(21, TARGET, limit=2))[-2:] == [14, 16]


@pytest.mark.parametrize(("sampler", "reads"), [("spsa", 0), ("perturb", 0), ("random", 0), ("qmc", 0), ("tpe", 1)])
def test_only_a_sampler_that_learns_from_the_lines_has_them_read(sampler: str, reads: int) -> None:
    log, space = Log(), floats(3)
    memory = Memory(1, [State()], [], log)
    proposer = Proposer()
    for iteration in range(1, 8):
        asked = request(iteration, space, log.records, config=settings(sampler))
        proposal = proposer.propose(
            dataclasses.replace(asked, history=Lazily(partial(memory.history_for, iteration, TARGET)))
        )
        record = line_of(iteration, proposal, 0.5 + iteration / 100)
        log.records.append(record)
        memory.add(record)
    assert len(log.reads) == reads


@pytest.mark.parametrize("sampler", ["tpe", "spsa"])
def test_from_the_newest_lines_the_same_is_proposed_whoever_lived_through_them(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(study.NEWEST, sampler, (10, 5))
    space, config = mixed_space(), settings(sampler)
    lived, records, sizes = Proposer(), [], []
    for iteration in range(1, 40):
        seen = request(iteration, space, records, config=config)
        proposal = lived.propose(seen)
        newest = dataclasses.replace(seen, history=observed(records[-15:]))
        assert Proposer().propose(seen) == Proposer().propose(newest) == proposal
        records.append(line_of(iteration, proposal, 0.4 + (iteration * 37 % 20) / 100))
        if TARGET in lived._studies._kept:
            sizes.append(len(lived._studies._kept[TARGET].study.get_trials(deepcopy=False)))
    assert max(sizes) == 14
    asked = [request(number, space, records[: number - 1], config=config) for number in range(20, 40)]
    bounded = [Proposer().propose(each) for each in asked]
    monkeypatch.setitem(study.NEWEST, sampler, (1000, 500))
    assert bounded != [Proposer().propose(each) for each in asked], "the older lines would have counted"


def test_trials_of_a_study_share_what_they_have_in_common() -> None:
    space, proposer = mixed_space(), Proposer()
    records = [line(iteration, space.defaults(), 0.5) for iteration in range(1, 6)]
    proposer.propose(request(6, space, records, config=settings("tpe")))
    trials = proposer._studies._kept[TARGET].study.get_trials(deepcopy=False)
    assert len({id(trial.distributions) for trial in trials}) == 1
    seen = observed(records)
    assert len({id(observation.names) for observation in seen}) == 1


def test_of_a_day_only_its_lines_count_and_the_next_day_is_read_anew() -> None:
    def ended(iteration: int, at: str) -> Record:
        return make_record(iteration, time={"finished_at": at, "gpu_seconds": 2.0, "detail": "x" * 1000})

    log = Log([ended(1, "2026-03-04T23:59:59Z"), ended(2, "2026-03-05T00:00:00Z")])
    daily = Daily(log)
    daily.add(ended(9, "2026-03-05T00:00:01Z"))
    assert [usage.time for usage in daily.on("2026-03-05")] == [
        {"finished_at": "2026-03-05T00:00:00Z", "gpu_seconds": 2.0}
    ]
    daily.add(ended(3, "2026-03-05T10:00:00Z"))
    assert len(daily.on("2026-03-05")) == 2
    assert len(daily.on("2026-03-06", newest=[ended(4, "2026-03-06T01:00:00Z")])) == 1
    assert log.reads == [b'"finished_at":"2026-03-05', b'"finished_at":"2026-03-06']
