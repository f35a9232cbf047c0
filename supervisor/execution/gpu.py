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
        """The GPU, or None, which is said once with the reason."""
        try:
            pynvml.nvmlInit()
            if pynvml.nvmlDeviceGetCount() == 0:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
            return cls(pynvml.nvmlDeviceGetHandleByIndex(0))
        except pynvml.NVMLError as error:
            say(f"No GPU ({error}): training and serving on the CPU")
            return None

    def memory(self, mine: set[int]) -> Memory:
        """Used memory, and how much of it the processes `mine` hold."""
        whole = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        own = sum(process.usedGpuMemory or 0 for process in processes if process.pid in mine)
        return Memory(whole.total // MIB, whole.used // MIB, own // MIB)
