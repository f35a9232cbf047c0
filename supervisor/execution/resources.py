"""Whether a trial may start beside whatever else this machine does. What our own processes use does not count."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisor.config.settings import ResourceSettings
from supervisor.contract import Budget
from supervisor.execution import linux
from supervisor.execution.gpu import Gpu
from supervisor.execution.room import Admission, Room, fits

MIB = 2**20
RELEASE = 0.9  # once held back, a trial starts only when use has fallen to this share of the limit
LOOK_S = 1.0  # a look at all processes costs milliseconds: no more often than this


@dataclass(frozen=True)
class Sample:
    """Use by other programs. CPU in percent of all CPUs together, the GPU's memory as a fraction; None without GPU."""

    cpu_percent: float
    ram_gb: float
    vram_fraction: float | None
    free_disk_mb: float


def admit(sample: Sample, limits: ResourceSettings, held: bool) -> Admission:
    """Pure. `held`: the last answer was no; then use must fall clearly below the limits, so that it does not flap."""
    share = RELEASE if held else 1.0
    short = _load(sample, limits, share) if limits.pause_on_high_load else []
    if sample.free_disk_mb < limits.min_free_disk_mb / share:
        short.append(f"the disk has {sample.free_disk_mb:.0f} MB free (limit {limits.min_free_disk_mb} MB)")
    return Admission(not short, "; ".join(short))


def _load(sample: Sample, limits: ResourceSettings, share: float) -> list[str]:
    """What other programs use more of than this share of the limits."""
    short: list[str] = []
    if limits.max_cpu_percent is not None and sample.cpu_percent > limits.max_cpu_percent * share:
        short.append(f"other programs use {sample.cpu_percent:.0f} % CPU (limit {limits.max_cpu_percent:g} %)")
    if limits.max_ram_gb is not None and sample.ram_gb > limits.max_ram_gb * share:
        short.append(f"other programs use {sample.ram_gb:.1f} GB of memory (limit {limits.max_ram_gb:g} GB)")
    if sample.vram_fraction is not None and sample.vram_fraction > limits.max_vram_fraction * share:
        used, limit = 100 * sample.vram_fraction, 100 * limits.max_vram_fraction
        short.append(f"other programs use {used:.0f} % of the GPU's memory (limit {limit:.0f} %)")
    return short


class Monitor:
    """Takes samples and remembers the last answer."""

    def __init__(self, run_dir: Path, limits: ResourceSettings, gpu: Gpu | None) -> None:
        self._run_dir = run_dir
        self._limits = limits
        self._gpu = gpu
        self._answer = Admission(True)
        self._looked_s = float("-inf")
        self._cpu_before = self._cpu_times()
        self._room = Room(0.0, None)
        self._measured_s = float("-inf")

    def admission(self) -> Admission:
        """Whether a trial may start now; a fresh look at most once a second."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._answer = admit(self._sample(), self._limits, held=not self._answer.admitted)
        return self._answer

    def room(self, running: Sequence[Budget], further: Budget) -> Admission:
        """Whether a trial with the budget `further` fits beside those that run."""
        now_s = time.monotonic()
        if running and now_s - self._measured_s >= LOOK_S:
            self._measured_s = now_s
            self._room = self._measure()
        return fits(running, further, self._room)

    def _sample(self) -> Sample:
        mine = {process.pid for process in _own_processes()}
        memory = psutil.virtual_memory()
        own_bytes = linux.proportional_mb(mine) * MIB  # trials share most of their pages with the fork server
        return Sample(
            cpu_percent=self._foreign_cpu_percent(),
            ram_gb=max(0.0, memory.total - memory.available - own_bytes) / 2**30,
            vram_fraction=self._foreign_vram(mine),
            free_disk_mb=shutil.disk_usage(self._run_dir).free / MIB,
        )

    def _measure(self) -> Room:
        """What is free and what our trials hold: the children of our children, of which one forks them all."""
        own = {process.pid for process in _own_processes()}
        trials = own - {os.getpid(), *(child.pid for child in psutil.Process().children())}
        vram = self._foreign_vram(own)
        return Room(
            ram_mb=psutil.virtual_memory().available / MIB + linux.proportional_mb(trials),
            vram_fraction=None if vram is None else 1.0 - vram,
        )

    def _foreign_vram(self, mine: set[int]) -> float | None:
        use = self._gpu.use() if self._gpu is not None else None
        return None if use is None else use.others_fraction(mine)

    def _foreign_cpu_percent(self) -> float:
        """Since the last look. What finished children of ours used is in our own times too."""
        before, now = self._cpu_before, self._cpu_times()
        self._cpu_before = now
        elapsed_s = (now[0] - before[0]) * (os.cpu_count() or 1)
        if elapsed_s <= 0:
            return 0.0
        return max(0.0, 100 * ((now[1] - before[1]) - (now[2] - before[2])) / elapsed_s)

    def _cpu_times(self) -> tuple[float, float, float]:
        """(clock, busy seconds of all CPUs, busy seconds of our own tree)."""
        total = psutil.cpu_times()
        busy = sum(total) - total.idle - getattr(total, "iowait", 0.0) - getattr(total, "guest", 0.0)
        own = 0.0
        for process in _own_processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            own += sum(times[:4])
        return time.monotonic(), busy, own


def _own_processes() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]
