"""What one attempt takes of the GPU, as the driver tells it: memory, and seconds in which it held some."""

from __future__ import annotations

from collections.abc import Set

from supervisor.execution.gpu import Gpu

CONTEXT_MB = 600  # what a driver takes for a process that computes, whatever the process does


class GpuMeter:
    """Reads 0 without a GPU. A driver that does not say how much a process holds meters seconds alone."""

    def __init__(self, gpu: Gpu | None, fraction: float) -> None:
        self._gpu = gpu
        self._fraction = fraction
        self.held_s = 0.0  # of the wall clock, computing or not: held memory keeps others out
        self.held_mb = 0
        self.peak_mb = 0
        self.limit_mb: int | None = None

    def look(self, pids: Set[int], since_s: float) -> None:
        """Take a reading; the last was `since_s` seconds ago."""
        use = self._gpu.use() if self._gpu is not None else None
        if use is None:
            return
        if use.on_it(pids):
            self.held_s += since_s
        self.held_mb = use.held_by(pids) or 0
        self.peak_mb = max(self.peak_mb, self.held_mb)
        self.limit_mb = round(self._fraction * use.total_mb) + CONTEXT_MB
