"""`resources.json`: what a run last decided by, for `incumbent status`. Nothing decides by it; a crash may take it.

Under the names of the founding document, which begin with `can_train`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.settings import ResourceSettings
from supervisor.contract import Json, Waiting, parse
from supervisor.execution.device import CPU
from supervisor.execution.resources import Look, Monitor

NAME = "resources.json"
NOTE_S = 5.0  # no more often, unless the answer has changed


@dataclass(frozen=True)
class Resources:
    """How the machine stands against the limits. Use is that of other programs; a limit of None is none."""

    can_train: bool
    reason: str  # why not; empty where it can
    held: bool  # trials that ran were told to save and leave
    waits_s: float  # how long already
    waits_for: str | None  # a code of `Waiting`; None where trials run, or may
    device: str  # that trials compute on, or would: cpu, cuda:0, or several of them
    cpu_percent: float
    cpu_max: float | None
    ram_used_gb: float
    ram_max_gb: float | None
    vram_percent: float | None  # None without a GPU, or where its driver does not tell
    vram_max_percent: float
    gpu_available: bool
    free_disk_gb: float
    serving_cpu_percent: float
    serving_ram_gb: float
    serving_vram_percent: float | None


@dataclass(frozen=True)
class Note:
    """What the file holds. `limits` are for who measures once no run is there to do it."""

    noted_s: float  # when, in seconds since 1970
    limits: dict[str, Json]
    resources: Resources


def resources_of(
    look: Look,
    limits: ResourceSettings,
    has_gpu: bool,
    waits_for: Waiting | None = None,
    waits_s: float = 0.0,
    devices: Sequence[str] = (CPU,),
) -> Resources:
    sample = look.sample
    return Resources(
        can_train=look.answer.admitted,
        reason=look.answer.reason,
        held=look.yields,
        waits_s=round(waits_s, 1),
        waits_for=waits_for,
        device=", ".join(devices),
        cpu_percent=round(sample.cpu_percent, 1),
        cpu_max=limits.max_cpu_percent,
        ram_used_gb=round(sample.ram_gb, 2),
        ram_max_gb=limits.max_ram_gb,
        vram_percent=_percent(sample.vram_fraction),
        vram_max_percent=round(100 * limits.max_vram_fraction, 1),
        gpu_available=has_gpu,
        free_disk_gb=round(sample.free_disk_mb / 1024, 2),
        serving_cpu_percent=round(sample.serving.cpu_percent, 1),
        serving_ram_gb=round(sample.serving.ram_gb, 2),
        serving_vram_percent=_percent(sample.serving.vram_fraction),
    )


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 1)


class Notes:
    """Keeps the file current; told at every turn of the loop what is waited for."""

    def __init__(
        self,
        run_dir: Path,
        monitor: Monitor,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._path = run_dir / NAME
        self._monitor = monitor
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._waits_for: Waiting | None = None
        self._waits_since_s = 0.0
        self._devices: Sequence[str] = (CPU,)
        self._noted_s = float("-inf")
        self._noted: tuple[object, ...] = ()

    def turn(self, waits_for: Waiting | None, devices: Sequence[str] = (CPU,)) -> None:
        """Never raises: where the disk has no room the note of before grows old."""
        now_s = self._monotonic_s()
        if waits_for is not self._waits_for:
            self._waits_for, self._waits_since_s = waits_for, now_s
        self._devices = devices or self._devices
        with contextlib.suppress(OSError):
            look = self._monitor.look()
            what = (waits_for, look.answer.admitted, look.yields, *self._devices)
            if what != self._noted or now_s - self._noted_s >= NOTE_S:
                self._noted, self._noted_s = what, now_s
                self._write(look, now_s - self._waits_since_s if waits_for else 0.0)

    def _write(self, look: Look, waits_s: float) -> None:
        limits = self._monitor.limits
        resources = resources_of(look, limits, self._monitor.has_gpu, self._waits_for, waits_s, self._devices)
        body = {
            "noted_s": self._wall_s(),
            "limits": limits.model_dump(mode="json"),
            "resources": vars(resources),
        }
        temporary = self._path.with_name(f".{NAME}.tmp")
        temporary.write_text(json.dumps(body) + "\n")
        os.replace(temporary, self._path)


def read_note(run_dir: Path) -> Note | None:
    """None where there is none, or none that can be made out."""
    try:
        return parse(Note, json.loads((run_dir / NAME).read_bytes()))
    except (OSError, ValueError):
        return None


def limits_of(note: Note | None) -> ResourceSettings:
    """Those of the run's last start; the default where it left none that this program understands."""
    if note is None:
        return ResourceSettings()
    try:
        return ResourceSettings.model_validate(note.limits)
    except ValueError:
        return ResourceSettings()
