"""When trials that run make room for other programs, and when they go on: the rule, and a run that keeps to it."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import loop
from supervisor.clock import Clock
from supervisor.config.settings import ResourceSettings
from supervisor.contract import Waiting
from supervisor.execution import resources
from supervisor.execution.executor import EXIT_STOPPED, STOP_NAME
from supervisor.execution.load import Gauge, Sample
from supervisor.execution.resources import Monitor
from supervisor.execution.room import Admission
from supervisor.execution.yielding import LOOKS, PATIENCE_S, Pressure, after_look
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from tests.support.small_run import SmallRun, comparable
from trainers import worker


def after(looks: list[tuple[float, bool, bool]], pressure: Pressure | None = None) -> Pressure:
    """(time, exceeded, released) each."""
    pressure = pressure or Pressure()
    for now_s, exceeded, released in looks:
        pressure = after_look(pressure, exceeded, released, now_s)
    return pressure


HIGH, LOW, BETWEEN = (True, False), (False, True), (False, False)


def test_only_what_lasts_makes_trials_leave() -> None:
    assert not after([(0, *HIGH), (2, *HIGH), (4.9, *HIGH)]).yielding
    assert after([(0, *HIGH), (2, *HIGH), (PATIENCE_S, *HIGH)]).yielding
    assert not after([(0, *HIGH), (2, *HIGH), (4, *BETWEEN), (6, *HIGH), (8, *HIGH)]).yielding


def test_two_looks_far_apart_say_too_little() -> None:
    assert not after([(0, *HIGH), (600, *HIGH)]).yielding
    assert after([(0, *HIGH), (600, *HIGH), (602, *HIGH)]).yielding


def test_use_between_release_and_limit_changes_nothing_either_way() -> None:
    looks = [(float(now_s), *BETWEEN) for now_s in range(100)]
    assert not after(looks).yielding
    assert after(looks, Pressure(yielding=True)).yielding


def test_who_left_comes_back_only_after_a_calm_as_long() -> None:
    left = Pressure(yielding=True)
    assert after([(0, *LOW), (2, *LOW), (4, *LOW)], left).yielding
    assert after([(0, *LOW), (2, *LOW), (4, *BETWEEN), (6, *LOW), (8, *LOW)], left).yielding
    assert not after([(0, *LOW), (2, *LOW), (6, *LOW)], left).yielding


@given(kinds=st.lists(st.sampled_from([HIGH, LOW, BETWEEN])), gap_s=st.floats(0.1, 60))
def test_it_never_flaps_faster_than_its_patience(kinds: list[tuple[bool, bool]], gap_s: float) -> None:
    pressure, changed_s = Pressure(), 0.0
    for number, kind in enumerate(kinds):
        before, pressure = pressure, after_look(pressure, *kind, number * gap_s)
        if before.yielding != pressure.yielding:
            assert number * gap_s - changed_s >= PATIENCE_S
            changed_s = number * gap_s
            assert number + 1 >= LOOKS


def test_a_monitor_holds_both_new_trials_and_those_that_run_until_the_calm_has_lasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = iter([90, 90, 90, 90, 48, 20, 20, 20, 20])
    seconds = itertools.count(0.0, 2.0)
    monkeypatch.setattr(Gauge, "sample", lambda self: Sample(next(use), 0, None, 1e6))
    monkeypatch.setattr(resources.time, "monotonic", lambda: next(seconds))
    monitor = Monitor(tmp_path, ResourceSettings(max_cpu_percent=50), ())
    looks = [monitor.look() for _ in range(9)]
    assert [look.yields for look in looks] == [False, False, False, True, True, True, True, True, False]
    assert [look.answer.admitted for look in looks] == [False] * 8 + [True]
    assert "for a moment only" in looks[6].answer.reason


def test_nobody_leaves_where_loads_are_not_looked_at_nor_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(0.0, 10.0)
    monkeypatch.setattr(resources.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(Gauge, "sample", lambda self: Sample(90, 0, None, 1))
    eager = Monitor(tmp_path, ResourceSettings(max_cpu_percent=50, pause_on_high_load=False), ())
    assert [eager.overload() for _ in range(9)] == [""] * 9
    assert not eager.admission().admitted  # the disk
    full = Monitor(tmp_path, ResourceSettings(), ())
    assert [full.overload() for _ in range(9)] == [""] * 9


def hurried() -> Clock:
    """A second passes at every look at it."""
    seconds = itertools.count(0.0)
    return replace(Clock(), monotonic_s=lambda: next(seconds))


@dataclass
class Neighbour:
    """Another program: it comes while a trial runs, and goes after so many turns."""

    turns: int
    here: bool = False

    def overload(self) -> str:
        self.turns -= self.here
        self.here = self.here and self.turns > 0
        return "other programs use 90 % CPU (limit 50 %)" if self.here else ""

    def admission(self) -> Admission:
        return Admission(not self.here, "other programs use 90 % CPU (limit 50 %)" if self.here else "")


def events(run: SmallRun) -> list[str]:
    return [json.loads(line)["event"] for line in (run.run_dir / EVENTS_NAME).read_text().splitlines()]


def test_a_trial_that_runs_saves_and_leaves_and_the_log_is_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.001)
    neighbour, calls = Neighbour(turns=40), []

    def work(folder: str) -> int:
        """The fifth trial is asked to leave in its midst: the neighbour is there by the next turn."""
        calls.append(folder)
        if folder.endswith("000005") and not neighbour.here and neighbour.turns == 40:
            neighbour.here = True
            return EXIT_STOPPED
        assert not neighbour.here, "a trial runs though it must not"
        return worker.main(folder)

    alone, disturbed = SmallRun(tmp_path / "alone"), SmallRun(tmp_path / "disturbed")
    alone.run(8)
    disturbed.run(8, worker_main=work, overload=neighbour.overload, admission=neighbour.admission)
    assert comparable(read_log(disturbed.run_dir).records) == comparable(read_log(alone.run_dir).records)
    assert sum(folder.endswith("000005") for folder in calls) == 2
    assert events(disturbed) == ["yielded", "went_on"]
    assert read_log(disturbed.run_dir).records[4].time["attempts"] == 1


def test_trials_in_flight_are_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two workers: the neighbour comes in the first one's trial, the second one has been started already."""
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.001)
    neighbour, asked = Neighbour(turns=5), []

    def work(folder: str) -> int:
        if (Path(folder) / STOP_NAME).exists():
            asked.append(folder)
            return EXIT_STOPPED
        neighbour.here = neighbour.here or (folder.endswith("000003") and neighbour.turns > 0)
        return worker.main(folder)

    run = SmallRun(tmp_path / "run", window=4)
    assert (
        run.run(6, worker_main=work, slots=2, overload=neighbour.overload, admission=neighbour.admission).iteration == 6
    )
    assert asked


def test_it_is_waited_so_long_then_skipped_to_the_next_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.001)
    neighbour, told = Neighbour(turns=400), []
    settings = {"resources": {"wait_s": 50}}
    run = SmallRun(tmp_path / "run", settings=settings)
    run.run(2)
    neighbour.here = True
    run.run(
        3,
        overload=neighbour.overload,
        admission=neighbour.admission,
        clock=hurried(),
        measured=lambda turn: told.append(turn.waiting),
    )
    assert "skipped" in events(run)
    assert events(run)[0] == "yielded"
    assert run.said.count("waiting for resources: other programs use 90 % CPU (limit 50 %)") >= 2
    assert Waiting.RESOURCES in told


def test_who_had_to_leave_in_the_midst_is_said_to_wait_in_vain_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No new trial asks then: the one in flight takes the only worker."""
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.001)
    neighbour = Neighbour(turns=400)

    def work(folder: str) -> int:
        if folder.endswith("000003") and neighbour.turns == 400:
            neighbour.here = True
            return EXIT_STOPPED
        return worker.main(folder)

    run = SmallRun(tmp_path / "run", settings={"resources": {"wait_s": 50}})
    run.run(4, work, overload=neighbour.overload, admission=neighbour.admission, clock=hurried())
    assert events(run)[:2] == ["yielded", "skipped"]
    assert events(run)[-1] == "went_on"
