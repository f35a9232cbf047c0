"""The clock set back and forth while it runs: nothing but the times in the log shows it."""

import itertools
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervisor.clock import Clock
from supervisor.journal import requests
from supervisor.journal.log import read_log
from supervisor.journal.requests import Action, next_sequence
from tests.support.command_line import LiveRun
from tests.support.processes import start
from tests.support.small_run import SmallRun, comparable

JUMPS = ("-3d", "+10d", "-400d", "+0d")
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def times(records):
    return [datetime.fromisoformat(record.time["finished_at"]) for record in records]


def test_durations_are_not_the_clocks_and_the_log_is_the_same(tmp_path):
    leaps = itertools.cycle((0, -400, 10, -3, 3650))

    def jumping():
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=next(leaps))).isoformat()

    steady, jumped = SmallRun(tmp_path / "steady"), SmallRun(tmp_path / "jumped", dashboard=True)
    steady.run(20)
    for iterations in (11, 20):
        jumped.run(iterations, clock=Clock(now_text=jumping))
    records = read_log(jumped.run_dir).records
    assert comparable(records) == comparable(read_log(steady.run_dir).records)
    assert all(record.time["duration_s"] >= 0 for record in records)
    assert any(later < earlier for earlier, later in itertools.pairwise(times(records)))
    assert not [text for text in jumped.said if "dashboard" in text]


def test_a_resume_answers_the_pause_before_it_whatever_the_clock_says(tmp_path):
    for sequence, action in ((2_000, Action.PAUSE), (1_000, Action.RESUME)):
        place = next_sequence(tmp_path, sequence)
        requests.drop(tmp_path, requests.Request(action.value, place, action))
    assert [request.action for request in requests.waiting(tmp_path)[0]] == [Action.PAUSE, Action.RESUME]


@pytest.mark.slow
@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
def test_a_real_supervisor_whose_clock_jumps_goes_on_as_if_it_had_not(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    shown = tmp_path / "clock"
    shown.write_text("+0d\n")
    environ = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(shown),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no kernel lets anybody set that one
    }
    live = LiveRun(run, start(run.run_dir, *run.flags, environ=environ))
    try:
        live.wait_until_it_says("#")
        for jump in JUMPS:
            shown.with_name("next").write_text(f"{jump}\n")
            shutil.move(shown.with_name("next"), shown)
            live.wait_for_iterations(2)
    finally:
        live.process.terminate()
        code = live.process.wait(timeout=60)
    assert code == 0
    records = run.lines()
    last = records[-1].iteration
    days = [abs(later - earlier).days for earlier, later in itertools.pairwise(times(records))]
    assert sum(jump > 1 for jump in days) >= 3
    assert all(record.time["duration_s"] >= 0 and record.time["attempts"] == 1 for record in records)
    events = [json.loads(line)["event"] for line in (run.run_dir / "events.jsonl").read_text().splitlines()]
    assert not {"back_off", "skipped", "log_rewritten", "dashboard_failing"} & set(events)
    steady = finished_run.copy(tmp_path / "steady")
    assert steady.call_with_config("run", "--max-iterations", str(last)).code == 0
    assert comparable(records) == comparable(steady.lines())
