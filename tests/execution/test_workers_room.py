"""Further trials start only while the budgets of all that run fit; the first one always does."""

import json
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.settings import ResourceSettings
from supervisor.contract import Budget
from supervisor.execution.load import MIB, Gauge
from supervisor.execution.resources import Monitor
from supervisor.execution.room import Admission, Room, fits, share_of
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from tests.support.small_run import SmallRun, comparable


def budget(ram_mb=1000, vram_fraction=0.1):
    return Budget(steps=1, wall_s=1.0, ram_mb=ram_mb, vram_fraction=vram_fraction)


budgets = st.builds(budget, ram_mb=st.integers(64, 10_000), vram_fraction=st.floats(0.01, 1.0))
rooms = st.builds(Room, ram_mb=st.floats(0, 50_000), vram_fraction=st.none() | st.floats(0, 1))


@given(further=budgets, room=rooms)
def test_one_trial_always_starts_whatever_its_budget(further, room):
    assert fits([], further, room) == Admission(True)


def test_memory_of_all_that_run_and_the_further_one_counts():
    room = Room(3000, None)
    assert fits([budget()] * 2, budget(), room).admitted
    answer = fits([budget()] * 2, budget(1001), room)
    assert not answer.admitted
    assert answer.reason == "3 trials may take 3001 MB of memory, 3000 MB are there (budgets.ram_mb)"


def test_the_gpus_memory_counts_where_there_is_one():
    running = [budget(vram_fraction=0.2)] * 2
    assert fits(running, budget(vram_fraction=0.2), Room(1e6, None)).admitted
    assert fits(running, budget(vram_fraction=0.2), Room(1e6, 0.6)).admitted
    assert "GPU" in fits(running, budget(vram_fraction=0.2), Room(1e6, 0.59)).reason


@given(running=st.lists(budgets, min_size=1, max_size=8), further=budgets, room=rooms)
def test_what_fits_beside_many_fits_beside_fewer(running, further, room):
    answer = fits(running, further, room)
    assert answer.admitted == (answer.reason == "")
    if answer.admitted:
        assert fits(running[:-1], further, room).admitted


@given(workers=st.integers(1, 256), fraction=st.floats(0.01, 1.0))
def test_the_shares_of_all_workers_are_the_trainings_share(workers, fraction):
    share = share_of(budget(vram_fraction=fraction), workers)
    assert share.vram_fraction * workers == pytest.approx(fraction)
    assert share.ram_mb == budget().ram_mb
    assert fits([share] * (workers - 1), share, Room(1e9, fraction)).admitted


def test_memory_that_trials_hold_already_is_theirs_to_take(tmp_path):
    """A trial is a child of our child, the fork server; what it uses is part of its budget, not gone."""
    gauge = Gauge(tmp_path, None)
    trial = "kept = bytearray(b'x' * 300 * 2**20); print(flush=True); input()"
    server = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen(
        [sys.executable, "-c", server, trial], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        program.stdout.readline()
        held_mb = gauge.room().ram_mb - psutil.virtual_memory().available / MIB
        program.stdin.write(b"\n")
    assert 200 < held_mb < 500


def test_a_real_machine_refuses_what_is_larger_than_itself(tmp_path):
    monitor = Monitor(tmp_path, ResourceSettings(), None)
    huge = budget(ram_mb=psutil.virtual_memory().total // MIB)
    assert monitor.room([], huge).admitted
    assert "MB of memory" in monitor.room([huge], huge).reason
    assert monitor.room([budget(64)], budget(64)).admitted


def test_where_one_fits_one_runs_at_a_time_and_the_log_is_the_same(tmp_path):
    most = {}

    def run_in(name, room):
        def counting(running, further):
            answer = fits(running, further, room)
            most[name] = max(most.get(name, 0), len(running) + answer.admitted)
            return answer

        run = SmallRun(tmp_path / name, window=8)
        run.run(20, slots=4, room=counting)
        return run

    roomy, tight = run_in("roomy", Room(4 * 4096, None)), run_in("tight", Room(4096, None))
    assert most == {"roomy": 4, "tight": 1}
    assert comparable(read_log(tight.run_dir).records) == comparable(read_log(roomy.run_dir).records)
    lines = [json.loads(line) for line in (tight.run_dir / EVENTS_NAME).read_text().splitlines()]
    [told] = [line["reason"] for line in lines if line["event"] == "fewer_workers"]
    assert told.startswith("1 at a time for now instead of 4: 2 trials may take 8192 MB")
    assert not (roomy.run_dir / EVENTS_NAME).exists()
