"""What a trial may take of the GPU: its share of the memory, its seconds, its target's hours of the day."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.settings import BudgetSettings
from supervisor.contract import Budget
from supervisor.execution.device import Card, Device
from supervisor.execution.executor import ExitKind, Launch
from supervisor.execution.forkserver import NO_GPUS
from supervisor.execution.gpu import Use
from supervisor.execution.gpu_hours import within_gpu_hours
from supervisor.execution.gpu_meter import CONTEXT_MB
from supervisor.execution.ladder import Act, Cause, Patience
from supervisor.execution.local import LocalExecutor
from supervisor.flight import Flight
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from supervisor.journal.trial_folder import TrialFolder
from supervisor.notify import Notifier
from supervisor.signals import Signals
from tests.execution.test_ladder import acts, sighting
from tests.support import preload_seeing
from tests.support.command_line import NoopFolder
from tests.support.fake_worker import BEGAN_NAME
from tests.support.gpu_target import TAKE_NAME
from tests.support.gpu_worlds import TOTAL_MB, StandIn, build_library
from tests.support.inline_executor import InlineExecutor
from tests.support.processes import console, finish, start, wait_for
from tests.support.programs import trial_spec
from tests.support.records import make_record
from tests.support.small_run import SmallRun, comparable
from tests.support.trial_folders import collect, launch
from trainers import worker

QUICK = Patience(ask_s=0.2, terminate_s=0.2, urgent_s=0.1, hung_s=30.0)


# one attempt


CARD = Card(0, "GPU-one", "")


class Driver:
    """Tells that the trial in a folder holds memory, from its first look on."""

    card = CARD

    def __init__(self):
        self.folder = None
        self.held_mb = 0

    def use(self):
        began = self.folder / BEGAN_NAME
        held = {int(began.read_text()): self.held_mb} if self.held_mb and began.exists() else {}
        return Use(TOTAL_MB, 1000 + sum(held.values()), held)


@pytest.fixture(scope="module")
def driver():
    return Driver()


@pytest.fixture(scope="module")
def executor(driver):
    local = LocalExecutor(worker="tests.support.fake_worker", preload=(), patience=QUICK, gpus=[driver])
    yield local
    local.close()


@pytest.fixture
def attempt(executor, driver, tmp_path, monkeypatch):
    """Runs the fake worker with a GPU budget; what it holds of the GPU is told by the driver."""
    monkeypatch.setattr("supervisor.execution.attempt.MEMORY_LOOK_S", 0.1)

    def run(do, held_mb, device=Device(CARD), **budget):  # noqa: B008
        driver.folder, driver.held_mb = tmp_path, held_mb
        plain = launch(tmp_path, do)
        return collect(executor, executor.submit(Launch(tmp_path, 1, replace(plain.budget, **budget), "build", device)))

    return run


def test_a_trial_that_takes_more_than_its_share_is_ended_at_once(attempt):
    limit_mb = TOTAL_MB // 4 + CONTEXT_MB
    end = attempt("ignore_everything", limit_mb + 1, vram_fraction=0.25)
    assert (end.kind, end.peak_vram_mb) == (ExitKind.OUT_OF_MEMORY, limit_mb + 1)
    assert f"it used {limit_mb + 1} MB of the GPU's memory where {limit_mb} MB are allowed" in end.detail


def test_a_trial_that_holds_the_gpu_for_longer_than_its_seconds_may_save_and_leave(attempt):
    end = attempt("obey", 500, gpu_s=0.3, vram_fraction=0.25)
    assert (end.kind, end.exit_code) == (ExitKind.GPU_TIME, 10)
    assert "it held the GPU for" in end.detail
    assert end.gpu_s > 0.3
    assert end.peak_vram_mb == 500


def test_seconds_off_the_gpu_do_not_count(attempt):
    end = attempt("shout 1", 0, gpu_s=1e-9)
    assert (end.kind, end.gpu_s, end.peak_vram_mb) == (ExitKind.CRASHED, 0.0, 0)


def test_a_trial_is_told_its_share(attempt, tmp_path):
    assert attempt("describe", 0, vram_fraction=0.15).kind is ExitKind.DONE
    assert json.loads((tmp_path / "facts.json").read_text())["vram"] == "0.15"


@pytest.mark.parametrize(
    ("device", "visible", "trains_on", "share", "address_space"),
    [
        (Device(CARD), "GPU-one", "cuda:0", "0.15", False),
        (Device(CARD, free=True), "GPU-one", None, "0.15", False),
        (Device(hides=True), "", None, None, True),
        (Device(), "untouched", None, "0.15", False),
    ],
)
def test_a_trial_sees_the_gpu_that_it_is_given_and_no_other(
    attempt, tmp_path, device, visible, trains_on, share, address_space
):
    assert attempt("describe", 0, device, vram_fraction=0.15).kind is ExitKind.DONE
    seen = json.loads((tmp_path / "facts.json").read_text())
    told = visible if visible != "untouched" else os.environ.get("CUDA_VISIBLE_DEVICES")
    assert (seen["visible"], seen["device"], seen["vram"]) == (told, trains_on, share)
    assert seen["address_space"] is address_space


def test_what_all_trials_share_sees_no_gpu_and_what_a_trial_sees_is_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv(preload_seeing.NAME, str(tmp_path / "seen"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-of-the-operator")
    executor = LocalExecutor(worker="tests.support.fake_worker", preload=("tests.support.preload_seeing",))
    try:
        plain = launch(tmp_path, "describe")
        assert collect(executor, executor.submit(plain)).kind is ExitKind.DONE
    finally:
        executor.close()
    assert json.loads((tmp_path / "seen").read_text()) == NO_GPUS
    assert json.loads((tmp_path / "facts.json").read_text())["visible"] == "GPU-of-the-operator"


def test_the_ladder_asks_first_where_seconds_are_up_and_not_where_memory_is():
    rungs, taken = acts([sighting(float(now), gpu_s=float(now), gpu_limit_s=10.0) for now in range(60)])
    assert taken == [(11.0, Act.ASK), (26.0, Act.TERMINATE), (31.0, Act.KILL)]
    assert rungs.cause is Cause.GPU_TIME
    rungs, taken = acts([sighting(float(now), vram_mb=now, vram_limit_mb=10) for now in range(60)])
    assert (taken, rungs.cause) == ([(11.0, Act.KILL)], Cause.OUT_OF_MEMORY)


def test_a_later_attempt_has_the_seconds_that_the_earlier_ones_left(tmp_path):
    spec = trial_spec({}, budget=Budget(steps=0, wall_s=600.0, ram_mb=64, vram_fraction=0.3, gpu_s=100.0))
    flight = Flight(spec, TrialFolder(tmp_path), "now", exits=[earlier("build", 30.0), earlier("duel", 20.0)])
    launched = []
    flight.launch(SimpleNamespace(submit=launched.append), at_once=2)
    [launch_of_it] = launched
    assert launch_of_it.budget == replace(spec.budget, gpu_s=50.0, vram_fraction=0.15, wall_s=590.0)
    assert flight.time_used()["gpu_seconds"] == 50.0


def earlier(stage, gpu_s):
    return {"fact": "exit", "stage": stage, "kind": "stopped", "seconds": 10.0, "gpu_s": gpu_s, "counts": False}


# a target's day

NOON = "2026-03-05T12:00:00.000Z"


def used(hours, day="2026-03-05", target="aggressive/combat_dqn"):
    return make_record(1, target, time={"gpu_seconds": hours * 3600, "finished_at": f"{day}T01:00:00.000Z"})


@pytest.mark.parametrize(
    ("records", "in_flight_s", "admitted"),
    [
        ([], 0.0, True),
        ([used(1.0), used(0.9)], 0.0, True),
        ([used(1.0), used(1.0)], 0.0, False),
        ([used(1.0), used(0.5)], 1800.0, False),
        ([used(5.0, day="2026-03-04")], 0.0, True),
        ([used(5.0, target="mage/combat_dqn")], 0.0, True),
        ([used(2.0), used(0.0, day="2026-03-06")], 0.0, False),  # a clock was set back
        ([used(2.0, day="2026-03-06")], 0.0, True),
        ([replace(used(1.0), time={})], 0.0, True),  # a line of an earlier program
    ],
)
def test_a_target_waits_once_its_hours_of_the_day_are_used(records, in_flight_s, admitted):
    answer = within_gpu_hours("aggressive/combat_dqn", 2.0, NOON, records, in_flight_s)
    assert answer.admitted is admitted
    assert ("2026-03-05" in answer.reason) is not admitted
    assert within_gpu_hours("aggressive/combat_dqn", None, NOON, records, in_flight_s).admitted


@given(st.lists(st.floats(0, 10), max_size=20), st.floats(0.1, 50))
def test_of_a_day_every_line_counts_once(hours, limit):
    answer = within_gpu_hours("aggressive/combat_dqn", limit, NOON, [used(each) for each in hours], 0.0)
    assert answer.admitted == (sum(each * 3600 for each in reversed(hours)) < limit * 3600)


class Metered(InlineExecutor):
    """Every trial held the GPU for an hour; after some waits in which nothing began it asks for a stop."""

    def __init__(self, signals):
        super().__init__(worker.main)
        self._signals = signals
        self._idle = 0

    def _run(self, launch):
        return replace(super()._run(launch), gpu_s=3600.0, peak_vram_mb=77)

    def wait(self, timeout_s, also=()):
        self._idle = 0 if self.list() else self._idle + 1
        self._signals.stop_asked = self._signals.stop_asked or self._idle > 3
        super().wait(0.0, also)


def test_a_run_whose_target_has_used_its_hours_waits_and_goes_on_as_if_it_had_not(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Notifier, "turn", lambda self, status: told.append(status))
    run, undisturbed = SmallRun(tmp_path / "run"), SmallRun(tmp_path / "undisturbed")
    undisturbed.run(4)
    for hours, lines in ((1.5, 4), (0.5, 4), (99.0, 6)):  # two trials of each target, none, as many as are asked for
        signals = Signals()
        run.settings = {"budgets": {"gpu_hours_per_day": hours}}
        run.run(6, executor=Metered(signals), signals=signals)
        assert len(read_log(run.run_dir).records) == lines
        signals.close()
    records = read_log(run.run_dir).records
    assert comparable(records[:4]) == comparable(read_log(undisturbed.run_dir).records)
    assert {record.time["gpu_seconds"] for record in records} == {3600.0, 7200.0}  # some with a contest
    assert {record.time["peak_vram_mb"] for record in records} == {77}
    events = [json.loads(line) for line in (run.run_dir / EVENTS_NAME).read_text().splitlines()]
    assert [event["event"] for event in events].count("gpu_hours_used") == 2  # once a start
    assert "aggressive/noop has held the GPU for its 1.5 hours of" in events[0]["reason"]
    assert any(status.startswith("waiting for the next day's GPU-hours; iteration 4") for status in told)
    assert not told[-1].startswith("waiting")


class MeteredOfOne(Metered):
    """Only the trials of the first target use the GPU."""

    def _run(self, launch):
        ended = super()._run(launch)
        return ended if launch.iteration % 2 else replace(ended, gpu_s=0.0)


def test_what_is_due_after_a_target_that_has_used_its_hours_waits_too_as_the_setting_says(tmp_path):
    run, signals = SmallRun(tmp_path / "run", settings={"budgets": {"gpu_hours_per_day": 1.5}}), Signals()
    run.run(8, executor=MeteredOfOne(signals), signals=signals)
    signals.close()
    assert [record.target for record in read_log(run.run_dir).records] == ["aggressive/noop", "mage/noop"] * 2
    assert "all that are due after it" in BudgetSettings.model_fields["gpu_hours_per_day"].description


# a whole supervisor on the stand-in


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(build_library(tmp_path), tmp_path / "state")


def events_of(folder):
    lines = [json.loads(line) for line in (folder.run_dir / EVENTS_NAME).read_text().splitlines()]
    return {line["event"]: line["reason"] for line in lines}


@pytest.mark.slow
def test_a_supervisor_cares_for_the_gpu_from_a_full_one_to_a_lost_driver(stand_in, tmp_path):
    folder = NoopFolder.make(tmp_path / "folder")
    for path in (tmp_path / "folder" / "spaces").iterdir():
        path.write_text(path.read_text().replace("tests.support.noop:NoopTarget", "tests.support.gpu_target:GpuTarget"))
    take = tmp_path / "take"
    share_mb = TOTAL_MB * 3 // 10 // 2  # of two workers
    take.write_text(f"1 {share_mb} 3\n2 {share_mb + CONTEXT_MB + 2} 60\n3 100 60\n12 100 4\n")  # 12 begins after line 4
    stand_in.others_hold(TOTAL_MB)
    environ = {**stand_in.environ, TAKE_NAME: str(take), "INCUMBENT_BUDGETS__GPU_S": "6"}
    run = start(folder.run_dir, *folder.flags, "--workers", "2", "--max-iterations", "12", environ=environ)
    wait_for("the supervisor waits", lambda: "waiting for resources" in console(folder.run_dir))
    assert "other programs use 100 % of the GPU's memory (limit 70 %)" in console(folder.run_dir)
    assert not (folder.run_dir / "trials").exists() or not list((folder.run_dir / "trials").iterdir())
    stand_in.others_hold(TOTAL_MB // 2)
    wait_for("the third line", lambda: (folder.run_dir / "training_log.jsonl").exists() and len(folder.lines()) >= 3)
    stand_in.fail(15)
    finish(run, folder.run_dir)
    first, second, third, *later = folder.lines()
    assert first.status == "complete"
    assert 2 <= first.time["gpu_seconds"] <= 6
    assert first.time["peak_vram_mb"] == share_mb
    assert (second.status, second.reason) == ("out_of_budget", "out_of_memory")
    assert (third.status, third.reason) == ("out_of_budget", "gpu_time")
    assert third.time["gpu_seconds"] > 6
    assert [line.status for line in later] == ["complete"] * 9
    assert console(folder.run_dir).count("waiting for resources") == 1  # what a trial that ended held was its own
    assert "GPU is lost" in events_of(folder)["gpu_lost"]
