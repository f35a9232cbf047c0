"""The GPU's memory, through NVIDIA's own library where there is one; without it everything runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pynvml

MIB = 2**20


@dataclass(frozen=True)
class Memory:
    """Of one GPU. `mine_mb` is what the given processes hold."""

    total_mb: int
    used_mb: int
    mine_mb: int


class Gpu:
    """The first GPU of this machine."""

    def __init__(self, handle: object) -> None:
        self._handle = handle

    @classmethod
    def find(cls, say: Callable[[str], None]) -> Gpu | None:
        """The GPU, or None with the reason said. Call it once, at the start."""
        try:
            pynvml.nvmlInit()
            return cls(pynvml.nvmlDeviceGetHandleByIndex(0))  # without a GPU an error, as without a driver
        except pynvml.NVMLError as error:
            say(f"No GPU ({error}): training and serving on the CPU")
            return None

    def memory(self, mine: set[int]) -> Memory:
        """Used memory, and how much of it the processes `mine` hold."""
        whole = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        own = sum(process.usedGpuMemory or 0 for process in processes if process.pid in mine)
        return Memory(whole.total // MIB, whole.used // MIB, own // MIB)
