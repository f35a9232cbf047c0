from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.settings import ResourceSettings
from supervisor.execution import gpu, linux, load, resources
from supervisor.execution.gpu import Gpu
from supervisor.execution.load import Parties, Sample, Seconds, cpu_percents
from supervisor.execution.resources import Monitor, admit

LIMITS = ResourceSettings(max_cpu_percent=50, max_ram_gb=10, max_vram_fraction=0.5, min_free_disk_mb=1000)
IDLE = Sample(cpu_percent=0, ram_gb=0, vram_fraction=0, free_disk_mb=1e6)

samples = st.builds(
    Sample,
    cpu_percent=st.floats(0, 100),
    ram_gb=st.floats(0, 100),
    vram_fraction=st.none() | st.floats(0, 1),
    free_disk_mb=st.floats(0, 1e5),
)


@pytest.mark.parametrize(
    ("sample", "word"),
    [
        (Sample(51, 0, None, 1e6), "CPU"),
        (Sample(0, 10.1, None, 1e6), "of memory"),
        (Sample(0, 0, 0.51, 1e6), "GPU"),
        (Sample(0, 0, None, 999), "disk"),
    ],
)
def test_each_shortage_holds_a_trial_back_and_is_named(sample: Sample, word: str) -> None:
    answer = admit(sample, LIMITS, held=False)
    assert not answer.admitted
    assert word in answer.reason
    assert ";" not in answer.reason


def test_all_shortages_are_named_at_once() -> None:
    assert admit(Sample(100, 100, 1, 0), LIMITS, held=False).reason.count(";") == 3


def test_no_limit_means_no_limit() -> None:
    free = ResourceSettings(max_cpu_percent=None, max_ram_gb=None, min_free_disk_mb=0)
    assert admit(Sample(100, 1000, None, 0), free, held=True).admitted


def test_who_does_not_want_to_pause_for_others_waits_for_the_disk_alone() -> None:
    eager = LIMITS.model_copy(update={"pause_on_high_load": False})
    assert admit(Sample(100, 100, 1, 1e6), eager, held=False).admitted
    assert "disk" in admit(Sample(0, 0, 0, 1), eager, held=False).reason


@given(sample=samples)
def test_who_was_held_back_needs_more_room_than_who_was_not(sample: Sample) -> None:
    if admit(sample, LIMITS, held=True).admitted:
        assert admit(sample, LIMITS, held=False).admitted


@given(sample=samples)
def test_a_refusal_always_has_a_reason_and_an_admission_none(sample: Sample) -> None:
    answer = admit(sample, LIMITS, held=False)
    assert answer.admitted == (answer.reason == "")


def test_use_just_below_the_limit_admits_but_does_not_release() -> None:
    close = Sample(48, 9.5, 0.48, 1050)
    assert admit(close, LIMITS, held=False).admitted
    assert admit(close, LIMITS, held=True).reason.count(";") == 3
    assert admit(IDLE, LIMITS, held=True).admitted


def test_a_monitor_looks_at_the_real_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "LOOK_S", 0.0)
    roomy = ResourceSettings(max_cpu_percent=None, max_ram_gb=1e6, min_free_disk_mb=0)
    assert Monitor(tmp_path, roomy, ()).admission().admitted
    monitor = Monitor(tmp_path, ResourceSettings(min_free_disk_mb=10**9), ())
    assert "the disk has" in monitor.admission().reason


def test_memory_and_time_of_our_own_programs_are_not_others(tmp_path: Path) -> None:
    """Busy seconds and memory of a child are known as ours, the seconds even after its end."""
    before_s, before_mb = own_seconds(tmp_path), own_mb(tmp_path)
    code = (
        "import time; kept = bytearray(b'x' * 300 * 2**20)\n"
        "while time.process_time() < 0.5: pass\n"
        "print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        program.stdout.readline()
        assert own_seconds(tmp_path) - before_s >= 0.45
        assert 290 <= own_mb(tmp_path) - before_mb < 400
        program.stdin.write(b"\n")
    assert own_seconds(tmp_path) - before_s >= 0.45


def own_seconds(run_dir: Path) -> float:
    table = linux.processes()
    return load.seconds(Parties.of(run_dir, table), table).own_s


def own_mb(run_dir: Path) -> int:
    return linux.proportional_mb(Parties.of(run_dir, linux.processes()).own)


def test_the_share_of_others_is_what_is_busy_without_us_and_the_servers() -> None:
    start = Seconds(0.0, 100.0, 10.0, {7: 50.0, 8: 900.0})
    assert cpu_percents(start, Seconds(10.0, 120.0, 22.0, {7: 50.0, 8: 900.0}), 4) == (20.0, 0.0)
    assert cpu_percents(start, Seconds(10.0, 120.0, 12.0, {7: 56.0, 8: 902.0}), 4) == (25.0, 20.0)
    assert cpu_percents(start, Seconds(10.0, 120.0, 10.0, {8: 900.0, 9: 4.0}), 4) == (40.0, 10.0)  # one went, one came
    assert cpu_percents(start, Seconds(10.0, 100.0, 30.0, {}), 4)[0] == 0.0  # clocks of different grain
    assert cpu_percents(start, Seconds(0.0, 101.0, 10.0, {}), 4) == (0.0, 0.0)  # no time has passed


times = st.builds(
    Seconds,
    clock_s=st.floats(0, 1e6),
    busy_s=st.floats(0, 1e6),
    own_s=st.floats(0, 1e6),
    serving_s=st.dictionaries(st.integers(1, 5), st.floats(0, 1e6)),
)


@given(before=times, now=times, cpus=st.integers(1, 256))
def test_shares_are_never_below_nothing_and_the_servers_never_above_everything(
    before: Seconds, now: Seconds, cpus: int
) -> None:
    others, served = cpu_percents(before, now, cpus)
    assert others >= 0.0
    assert 0.0 <= served <= 100.001


def test_a_machine_without_a_gpu_library_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise gpu.pynvml.NVMLError(gpu.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(gpu.pynvml, "nvmlInit", missing)
    said: list[str] = []
    assert Gpu.find(said.append) is None
    assert len(said) == 1
    assert "CPU" in said[0]
