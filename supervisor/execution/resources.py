"""Whether trials may start and run beside whatever else this machine does. What our own processes use does not count,
and what servers of the run folder use neither: they have their share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.settings import ResourceSettings
from supervisor.contract import Budget
from supervisor.execution.gpu import Gpu
from supervisor.execution.load import Gauge, Sample
from supervisor.execution.room import Admission, Claim, Placement, Room, Want, fits
from supervisor.execution.yielding import Pressure, after_look

RELEASE = 0.9  # once held back, a trial starts only when use has fallen to this share of the limit
LOOK_S = 2.0  # a look at all processes costs ten milliseconds: no more often than this


@dataclass(frozen=True)
class Look:
    """What the last look saw, and what follows from it. `at_s` is by the monotonic clock."""

    sample: Sample
    answer: Admission
    yields: bool  # trials that run must leave, too
    at_s: float


def admit(sample: Sample, limits: ResourceSettings, held: bool) -> Admission:
    """Pure. `held`: the last answer was no; then use must fall clearly below the limits, so that it does not flap."""
    share = RELEASE if held else 1.0
    short = _load(sample, limits, share)
    if sample.free_disk_mb < limits.min_free_disk_mb / share:
        short.append(f"the disk has {sample.free_disk_mb:.0f} MB free (limit {limits.min_free_disk_mb} MB)")
    return Admission(not short, "; ".join(short))


def _load(sample: Sample, limits: ResourceSettings, share: float) -> list[str]:
    """What other programs use more of than this share of the limits."""
    short: list[str] = []
    if not limits.pause_on_high_load:
        return short
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

    def __init__(self, run_dir: Path, limits: ResourceSettings, gpus: Sequence[Gpu]) -> None:
        self.limits = limits
        self.has_gpu = bool(gpus)
        self._gauge = Gauge(run_dir, gpus)
        self._pressure = Pressure()
        self._latest: Look | None = None
        self._room = Room(0.0)
        self._measured_s = float("-inf")

    def admission(self) -> Admission:
        """Whether a trial may start now; a fresh look at most every LOOK_S."""
        return self.look().answer

    def overload(self) -> str:
        """Why trials that run must save and leave; empty where they may stay."""
        look = self.look()
        return look.answer.reason if look.yields else ""

    def look(self) -> Look:
        """The last one, or a fresh one where that is older than LOOK_S."""
        now_s = time.monotonic()
        if self._latest is None or now_s - self._latest.at_s >= LOOK_S:
            self._latest = self._judged(self._gauge.sample(), now_s)
        return self._latest

    def room(self, running: Sequence[Claim], further: Budget, want: Want) -> Placement:
        """Whether and where a trial with the budget `further` fits beside those that run."""
        now_s = time.monotonic()
        if (running or want.may_use_gpu) and now_s - self._measured_s >= LOOK_S:
            self._measured_s = now_s
            self._room = self._gauge.room()
        return fits(running, further, want, self._room)

    def _judged(self, sample: Sample, now_s: float) -> Look:
        held = self._latest is not None and not self._latest.answer.admitted
        answer = admit(sample, self.limits, held)
        exceeded, released = _load(sample, self.limits, 1.0), not _load(sample, self.limits, RELEASE)
        self._pressure = after_look(self._pressure, bool(exceeded), released, now_s)
        yields = self._pressure.yielding
        if yields and answer.admitted:
            answer = Admission(False, "other programs have kept to the limits for a moment only")
        return Look(sample, answer, yields, now_s)
