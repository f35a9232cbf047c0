"""The GPUs' memory, through NVIDIA's own library where there is one; without it everything runs on the CPU."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pynvml

from supervisor.execution.device import Card

MIB = 2**20
FIRST = "0"  # the driver's number of a GPU
RETRY_S = 60.0  # between two looks for a GPU that was lost


@dataclass(frozen=True)
class Use:
    """Of one GPU. `by_process`: MB that each computing process holds, None where the driver does not say how much;
    None instead of the list where it does not even say which."""

    total_mb: int
    used_mb: int
    by_process: Mapping[int, int | None] | None

    def on_it(self, pids: Iterable[int]) -> bool:
        """Whether one of these processes computes on the GPU."""
        return self.by_process is not None and any(pid in self.by_process for pid in pids)

    def held_by(self, pids: Iterable[int]) -> int | None:
        """MB held by these processes, 0 when none of them is on the GPU, None where the driver does not say."""
        if self.by_process is None:
            return None
        held = [self.by_process[pid] for pid in pids if pid in self.by_process]
        return None if None in held else sum(size for size in held if size is not None)

    def others_fraction(self, mine: Iterable[int]) -> float | None:
        """The share of the memory that all but these processes hold; None where it cannot be told."""
        own_mb = self.held_by(mine)
        return None if own_mb is None else max(0, self.used_mb - own_mb) / self.total_mb


class Gpu:
    """One GPU that CUDA sees. A driver that goes away while it is in use is an event, and so is its return; until then
    its memory is not looked at.

    In a container that hides the host's process numbers our own use looks like another's.
    """

    def __init__(self, handle: object, report: Callable[[str, str], None], card: Card | None = None) -> None:
        self._handle: object | None = handle
        self._report = report
        self._retry_s = float("-inf")  # not before, once it was lost
        self.card = card or Card(0, FIRST, "")

    @classmethod
    def find(cls, say: Callable[[str], None], report: Callable[[str, str], None] | None = None) -> Gpu | None:
        """The first GPU, or None with the reason said. Call it once, at the start; `report` takes later events."""
        found = cls.find_all(say, report, most=1)
        return found[0] if found else None

    @classmethod
    def find_all(
        cls, say: Callable[[str], None], report: Callable[[str, str], None] | None = None, most: int | None = None
    ) -> tuple[Gpu, ...]:
        """Those that CUDA_VISIBLE_DEVICES leaves, in its order; where it is not set, all in the driver's. None of them
        is a reason that is said. CUDA, too, sees none of those behind the first name that it cannot make out."""
        tell = report or (lambda event, reason: say(f"{event}: {reason}"))
        found: list[Gpu] = []
        try:
            for index, place in enumerate(_places()[:most]):
                handle = _open(place)
                found.append(cls(handle, tell, Card(index, _uuid(handle) or place, _name(handle))))
        except pynvml.NVMLError as error:
            if not found:
                say(f"No GPU ({error}): training and serving on the CPU")
        return tuple(found)

    @property
    def answers(self) -> bool:
        """Whether it did at the last look."""
        return self._handle is not None

    def use(self) -> Use | None:
        """A fresh look; None while the driver does not answer.

        Whose processes are meant is to be known before: one that ends in between must not look like another's.
        """
        was_lost = self._handle is None
        if was_lost and time.monotonic() < self._retry_s:
            return None
        try:
            self._handle = self._handle or _open(self.card.visible)
            sizes = _by_process(self._handle)  # first, for the same reason
            whole = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
            use = Use(whole.total // MIB, whole.used // MIB, sizes)
        except pynvml.NVMLError as error:
            self._handle, self._retry_s = None, time.monotonic() + RETRY_S
            if not was_lost:
                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()
                self._report(
                    "gpu_lost",
                    f"{self.card}: the driver does not answer ({error}); going on without a look at its memory",
                )
            return None
        if was_lost:
            self._report("gpu_back", f"{self.card}: the driver answers again")
        return use


def _places() -> list[str]:
    """Of the GPUs that CUDA may see: numbers or UUIDs. Raises NVMLError without a driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [place.strip() for place in visible.split(",")]
    pynvml.nvmlInit()
    try:
        return [str(number) for number in range(pynvml.nvmlDeviceGetCount())] or [FIRST]
    finally:
        pynvml.nvmlShutdown()


def _open(place: str) -> object:
    """A handle. Raises NVMLError without a driver as without a GPU, and then holds nothing."""
    pynvml.nvmlInit()
    try:
        if place.isdigit():
            return pynvml.nvmlDeviceGetHandleByIndex(int(place))
        return pynvml.nvmlDeviceGetHandleByUUID(place)  # of an empty list, or -1, there is none
    except pynvml.NVMLError:
        pynvml.nvmlShutdown()
        raise


def _uuid(handle: object) -> str | None:
    return _told(pynvml.nvmlDeviceGetUUID, handle)


def _name(handle: object) -> str:
    return _told(pynvml.nvmlDeviceGetName, handle) or "a GPU without a name"


def _told(question: Callable[[object], str | bytes], handle: object) -> str | None:
    """Older versions of the binding answer in bytes; a driver need not answer at all."""
    try:
        answer = question(handle)
    except pynvml.NVMLError:
        return None
    return answer.decode() if isinstance(answer, bytes) else answer


def _by_process(handle: object) -> dict[int, int | None] | None:
    try:
        listed = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):  # of some partitioned GPUs
        return None
    sizes: dict[int, int | None] = {}
    for process in listed:  # one that computes in two contexts is listed twice
        before = sizes.get(process.pid, 0)
        known = process.usedGpuMemory is not None and before is not None
        sizes[process.pid] = before + process.usedGpuMemory // MIB if known else None
    return sizes
