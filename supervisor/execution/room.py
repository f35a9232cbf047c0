"""Whether one more trial fits beside those that run, and on which GPU, by what each may take, not by what it happens to
use. Pure.

One trial always fits: a budget larger than the machine is a net, and whoever asks for one trial at a time gets it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from supervisor.contract import Budget
from supervisor.execution.device import AUTO, CPU, CUDA, Card, Device

ROUNDING = 1e-9  # shares of a whole add up to a little more or less than it


@dataclass(frozen=True)
class Admission:
    """The answer, and where it is no, what is short."""

    admitted: bool
    reason: str = ""


@dataclass(frozen=True)
class Want:
    """Of a process: `device` as `device.device_of` gives it. `like`: the name of the GPU that what it goes on with was
    computed on, None where it begins."""

    device: str = CPU
    like: str | None = None

    @property
    def may_use_gpu(self) -> bool:
        return self.device != CPU


@dataclass(frozen=True)
class Claim:
    """What a running trial may take, and where."""

    budget: Budget
    gpu: int | None = None  # index


@dataclass(frozen=True)
class GpuRoom:
    """A GPU that answers. `others` is the share of its memory that neither is free nor our trials': None where the
    driver does not tell."""

    card: Card
    free_mb: int
    others: float | None


@dataclass(frozen=True)
class Room:
    """What there is for trials, those that run included: all that nothing else holds."""

    ram_mb: float
    gpus: tuple[GpuRoom, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where a trial may start; where it may not, what is short. `gone`: a GPU that it needs is not there at all."""

    admitted: bool
    device: Device = Device()
    reason: str = ""
    gone: bool = False
    full: bool = False  # a GPU that it needs has no room


def at_once_on_one(workers: int, gpus: int) -> int:
    """Among how many trials one GPU's memory is divided: they spread over all there are."""
    return math.ceil(workers / max(1, gpus))


def share_of(budget: Budget, at_once: int) -> Budget:
    """One trial's budget where so many share a GPU: they divide its memory; all else is per trial already."""
    return replace(budget, vram_fraction=budget.vram_fraction / at_once)


def fits(running: Sequence[Claim], further: Budget, want: Want, room: Room) -> Placement:
    """Whether and where a trial with the budget `further` may start beside `running`; budgets as `share_of` gives
    them."""
    placement = _place(running, further, want, room)
    ram_mb = sum(claim.budget.ram_mb for claim in running) + further.ram_mb
    if placement.admitted and running and ram_mb > room.ram_mb:
        reason = (
            f"{len(running) + 1} trials may take {ram_mb} MB of memory, {room.ram_mb:.0f} MB are there (budgets.ram_mb)"
        )
        return Placement(False, reason=reason)
    return placement


def _place(running: Sequence[Claim], further: Budget, want: Want, room: Room) -> Placement:
    if want.device == CPU:
        return Placement(True, Device(hides=True))
    if want.device == AUTO and not room.gpus:
        return Placement(True)
    suited = [gpu for gpu in room.gpus if _suits(gpu.card, want)]
    if not suited:
        return Placement(False, reason=_missing(want, room), gone=True)
    with_room = [gpu for gpu in suited if _has_room(gpu, running, further)]
    if not with_room and any(claim.gpu is not None for claim in running):
        return Placement(False, reason=_full(suited, running, further), full=True)
    best = min(with_room or suited, key=lambda gpu: (len(_on(gpu.card, running)), -gpu.free_mb, gpu.card.index))
    return Placement(True, Device(best.card, free=want.device == AUTO))


def _suits(card: Card, want: Want) -> bool:
    return want.device in (AUTO, CUDA, card.device) and want.like in (None, card.name)


def _on(card: Card, running: Sequence[Claim]) -> list[Budget]:
    return [claim.budget for claim in running if claim.gpu == card.index]


def _taken(gpu: GpuRoom, running: Sequence[Claim], further: Budget) -> float:
    return sum(budget.vram_fraction for budget in (*_on(gpu.card, running), further))


def _has_room(gpu: GpuRoom, running: Sequence[Claim], further: Budget) -> bool:
    return gpu.others is None or _taken(gpu, running, further) <= 1.0 - gpu.others + ROUNDING


def _full(suited: Sequence[GpuRoom], running: Sequence[Claim], further: Budget) -> str:
    found = [
        f"{len(_on(gpu.card, running)) + 1} trials may take {100 * _taken(gpu, running, further):.0f} % of the memory"
        f" of {gpu.card}, {100 * (1.0 - (gpu.others or 0.0)):.0f} % are there"
        for gpu in suited
    ]
    return f"{'; '.join(found)} (budgets.vram_fraction)"


def _missing(want: Want, room: Room) -> str:
    there = ", ".join(str(gpu.card) for gpu in room.gpus) or "none"
    what = "a GPU" if want.device in (AUTO, CUDA) else want.device
    like = f" ({want.like}, which it was begun on)" if want.like is not None else ""
    return f"it needs {what}{like}; GPUs that answer: {there}"
