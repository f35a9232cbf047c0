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
from supervisor.execution.device import Card, Device
from supervisor.execution.load import MIB, Gauge
from supervisor.execution.resources import Monitor
from supervisor.execution.room import Claim, GpuRoom, Room, Want, at_once_on_one, fits, share_of
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from tests.support.small_run import SmallRun, comparable


def budget(ram_mb=1000, vram_fraction=0.1):
    return Budget(steps=1, wall_s=1.0, ram_mb=ram_mb, vram_fraction=vram_fraction)


CARDS = [Card(index, f"GPU-{index}", "a card") for index in range(3)]
ANY_GPU, ON_CPU = Want("cuda"), Want("cpu")


def gpu(index=0, others=0.0, free_mb=1000, name="a card"):
    return GpuRoom(Card(index, f"GPU-{index}", name), free_mb, others)


budgets = st.builds(budget, ram_mb=st.integers(64, 10_000), vram_fraction=st.floats(0.01, 1.0))
claims = st.builds(Claim, budgets, st.none() | st.integers(0, 2))
others = st.none() | st.floats(0, 1)
rooms = st.builds(
    lambda ram_mb, shares, free: Room(ram_mb, tuple(gpu(k, share, free * (k + 1)) for k, share in enumerate(shares))),
    st.floats(0, 50_000),
    st.lists(others, max_size=3),
    st.integers(0, 9000),
)
wants = st.sampled_from(
    [Want("cpu"), Want("auto"), Want("cuda"), Want("cuda:0"), Want("cuda:2"), Want("cuda", "other")]
)


@given(further=budgets, want=wants, room=rooms)
def test_one_trial_always_starts_whatever_its_budget_unless_its_gpu_is_not_there(further, want, room):
    placement = fits([], further, want, room)
    assert placement.admitted is not placement.gone
    assert not placement.full


def test_memory_of_all_that_run_and_the_further_one_counts():
    room = Room(3000)
    assert fits([Claim(budget())] * 2, budget(), ON_CPU, room).admitted
    answer = fits([Claim(budget())] * 2, budget(1001), ON_CPU, room)
    assert not answer.admitted
    assert answer.reason == "3 trials may take 3001 MB of memory, 3000 MB are there (budgets.ram_mb)"


def test_the_gpus_memory_counts_where_there_is_one():
    running, further = [Claim(budget(vram_fraction=0.2), 0)] * 2, budget(vram_fraction=0.2)
    assert fits(running, further, Want("auto"), Room(1e6)).admitted
    assert fits(running, further, ANY_GPU, Room(1e6, (gpu(others=0.4),))).admitted
    refused = fits(running, further, ANY_GPU, Room(1e6, (gpu(others=0.41),)))
    assert (refused.full, refused.admitted) == (True, False)
    assert "3 trials may take 60 % of the memory of cuda:0 a card, 59 % are there" in refused.reason
    assert fits(running, further, ON_CPU, Room(1e6, (gpu(others=0.41),))).admitted  # which needs none of it


@given(running=st.lists(claims, min_size=1, max_size=8), further=budgets, want=wants, room=rooms)
def test_what_fits_beside_many_fits_beside_fewer(running, further, want, room):
    answer = fits(running, further, want, room)
    assert answer.admitted == (answer.reason == "")
    if answer.admitted:
        assert fits(running[:-1], further, want, room).admitted


# several GPUs


def test_trials_spread_over_the_gpus_the_one_with_fewest_of_ours_then_with_most_memory_first():
    room, running, order = Room(1e6, (gpu(0, 0.0, 500), gpu(1, 0.0, 900), gpu(2, 0.0, 900))), [], []
    for _ in range(6):
        placement = fits(running, budget(vram_fraction=0.15), ANY_GPU, room)
        order.append(placement.device.gpu.index)
        running.append(Claim(budget(vram_fraction=0.15), order[-1]))
    assert order == [1, 2, 0, 1, 2, 0]


def test_a_gpu_that_others_fill_is_passed_over_and_waited_for_only_where_it_is_the_one_asked_for():
    room = Room(1e6, (gpu(0, others=0.95), gpu(1)))
    running, further = [Claim(budget(vram_fraction=0.3), 1)], budget(vram_fraction=0.3)
    assert fits(running, further, ANY_GPU, room).device == Device(room.gpus[1].card)
    assert fits(running, further, Want("cuda:0"), room).full
    assert not fits(running, further, Want("cuda:0"), room).gone


def test_a_trial_goes_on_on_the_kind_of_gpu_that_it_began_on_and_no_other():
    room = Room(1e6, (gpu(0, name="new"), gpu(1, name="old")))
    assert fits([], budget(), Want("cuda", "old"), room).device.gpu.index == 1
    gone = fits([], budget(), Want("cuda", "older"), room)
    assert gone.gone
    assert gone.reason == "it needs a GPU (older, which it was begun on); GPUs that answer: cuda:0 new, cuda:1 old"
    assert fits([], budget(), Want("cuda:3"), room).reason.startswith("it needs cuda:3; GPUs that answer: cuda:0 new")
    assert fits([], budget(), ANY_GPU, Room(1e6)).reason == "it needs a GPU; GPUs that answer: none"


def test_what_is_shown_follows_from_where_it_is_placed():
    room = Room(1e6, (gpu(0), gpu(1)))
    shown = [fits([], budget(), Want(device), room).device.visible for device in ("cpu", "cuda:1", "auto")]
    assert shown == ["", "GPU-1", "GPU-0"]
    assert fits([], budget(), Want("auto"), Room(1e6)).device.visible is None


@pytest.mark.parametrize(
    ("workers", "gpus", "at_once"), [(1, 0, 1), (4, 0, 4), (4, 1, 4), (4, 2, 2), (5, 2, 3), (2, 8, 1)]
)
def test_workers_divide_a_gpu_among_those_that_share_it(workers, gpus, at_once):
    assert at_once_on_one(workers, gpus) == at_once


@given(workers=st.integers(1, 256), fraction=st.floats(0.01, 1.0))
def test_the_shares_of_all_workers_are_the_trainings_share(workers, fraction):
    share = share_of(budget(vram_fraction=fraction), workers)
    assert share.vram_fraction * workers == pytest.approx(fraction)
    assert share.ram_mb == budget().ram_mb
    room = Room(1e9, (gpu(others=1.0 - fraction),))
    assert fits([Claim(share, 0)] * (workers - 1), share, ANY_GPU, room).admitted


def test_memory_that_trials_hold_already_is_theirs_to_take(tmp_path):
    """A trial is a child of our child, the fork server; what it uses is part of its budget, not gone."""
    gauge = Gauge(tmp_path, ())
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
    monitor = Monitor(tmp_path, ResourceSettings(), ())
    huge = budget(ram_mb=psutil.virtual_memory().total // MIB)
    assert monitor.room([], huge, ON_CPU).admitted
    assert "MB of memory" in monitor.room([Claim(huge)], huge, ON_CPU).reason
    assert monitor.room([Claim(budget(64))], budget(64), ON_CPU).admitted


def test_where_one_fits_one_runs_at_a_time_and_the_log_is_the_same(tmp_path):
    most = {}

    def run_in(name, room):
        def counting(running, further, want):
            answer = fits(running, further, want, room)
            most[name] = max(most.get(name, 0), len(running) + answer.admitted)
            return answer

        run = SmallRun(tmp_path / name, window=8)
        run.run(20, slots=4, room=counting)
        return run

    roomy, tight = run_in("roomy", Room(4 * 4096)), run_in("tight", Room(4096))
    assert most == {"roomy": 4, "tight": 1}
    assert comparable(read_log(tight.run_dir).records) == comparable(read_log(roomy.run_dir).records)
    lines = [json.loads(line) for line in (tight.run_dir / EVENTS_NAME).read_text().splitlines()]
    [told] = [line["reason"] for line in lines if line["event"] == "fewer_workers"]
    assert told.startswith("1 at a time for now instead of 4: 2 trials may take 8192 MB")
    assert not (roomy.run_dir / EVENTS_NAME).exists()
