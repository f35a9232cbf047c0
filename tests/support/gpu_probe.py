"""A process that holds the supervisor's view of the GPU and answers questions about it, a line each.

Real pynvml, real Gpu and Monitor; only that they look anew at every question is not as in the product.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from supervisor.config.settings import ResourceSettings
from supervisor.execution import gpu, resources
from supervisor.execution.gpu import Gpu
from supervisor.execution.gpu_meter import GpuMeter
from supervisor.execution.resources import Monitor
from tests.support import gpu_memory

gpu.RETRY_S = resources.LOOK_S = 0.0


class Answers:
    """A method per question."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._events: list[str] = []
        self._gpus = Gpu.find_all(self._said.append, lambda event, reason: self._events.append(f"{event}: {reason}"))
        self._gpu = self._gpus[0] if self._gpus else None
        self._monitor = self._meter = None

    def said(self) -> str:
        return "; ".join(self._said)

    def events(self) -> str:
        return "; ".join(self._events)

    def cards(self) -> str:
        return ", ".join(f"{gpu.card}={gpu.card.visible}" for gpu in self._gpus)

    def total(self) -> str:
        use = self._gpu.use() if self._gpu else None
        return str(use.total_mb if use else None)

    def mine(self) -> str:
        use = self._gpu.use() if self._gpu else None
        return str(use.held_by([os.getpid()]) if use else None)

    def others(self) -> str:
        """Their MB."""
        use = self._gpu.use() if self._gpu else None
        share = use.others_fraction([os.getpid()]) if use else None
        return str(None if share is None or use is None else round(share * use.total_mb))

    def hold(self, mb: str) -> str:
        gpu_memory.hold(int(mb))
        return ""

    def limit(self, fraction: str) -> str:
        """From now on `admission` holds trials back while others use more."""
        limits = ResourceSettings(max_vram_fraction=float(fraction), min_free_disk_mb=0)
        self._monitor = Monitor(Path(tempfile.gettempdir()), limits, self._gpus)
        return ""

    def admission(self) -> str:
        assert self._monitor is not None
        return self._monitor.admission().reason or "admitted"

    def meter(self, fraction: str, since_s: str) -> str:
        """Seconds, MB, limit of this very process as an attempt with this share of the memory."""
        self._meter = self._meter or GpuMeter(self._gpu, float(fraction))
        self._meter.look({os.getpid()}, float(since_s))
        return f"{self._meter.held_s} {self._meter.held_mb} {self._meter.limit_mb}"


if __name__ == "__main__":
    answers = Answers()
    for line in sys.stdin:
        name, *arguments = line.split()
        print(getattr(answers, name)(*arguments), flush=True)
