"""The resources part of `incumbent status`: what the run decided by last, or what is measured now where none runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from supervisor.contract import Json
from supervisor.execution.device import CPU
from supervisor.execution.gpu import Gpu
from supervisor.execution.resource_note import Resources, limits_of, read_note, resources_of
from supervisor.execution.resources import Monitor

MEASURE_S = 0.2
"""Over which the use of the CPUs is taken."""


@dataclass(frozen=True)
class Standing:
    """The resources, and how old what is said of them is."""

    resources: Resources
    age_s: float

    def as_object(self) -> dict[str, Json]:
        return {**vars(self.resources), "age_s": round(self.age_s, 1)}


def standing(run_dir: Path, running: bool) -> Standing:
    """Takes MEASURE_S where no run is there to say it."""
    note = read_note(run_dir)
    if running and note is not None:
        return Standing(note.resources, max(0.0, time.time() - note.noted_s))
    limits, gpus = limits_of(note), Gpu.find_all(_silent)
    monitor = Monitor(run_dir, limits, gpus)
    time.sleep(MEASURE_S)
    devices = [note.resources.device if note is not None else CPU]  # where it ran last, or would by the defaults
    return Standing(resources_of(monitor.look(), limits, bool(gpus), devices=devices), 0.0)


def _silent(said: str) -> None:
    """That there is no GPU is in the answer."""


def for_people(standing: Standing) -> str:
    """A line: what others use, of how much, and what follows from it."""
    found = standing.resources
    parts = [
        f"CPU {found.cpu_percent:.0f} %{_of(found.cpu_max, ' %')}",
        f"memory {found.ram_used_gb:.1f} GB{_of(found.ram_max_gb, ' GB')}",
    ]
    if found.vram_percent is not None:
        parts.append(f"GPU memory {found.vram_percent:.0f} %{_of(found.vram_max_percent, ' %')}")
    age = f" ({standing.age_s:.0f} s ago)" if standing.age_s >= 1 else ""
    line = f"other programs: {', '.join(parts)}{age}; trials on {found.device}"
    if found.can_train:
        return line
    how = "held" if found.held else "none may begin"
    since = f" for {found.waits_s + standing.age_s:.0f} s" if found.waits_for == "resources" else ""
    return f"{line}, {how}{since}: {found.reason}"


def _of(limit: float | None, unit: str) -> str:
    return f" of {limit:g}{unit}" if limit is not None else ""
