"""What a trial computes on: decided when it is proposed, from its target's setting and what the machine has. Pure.

Which of several GPUs it gets is decided when a process of it starts: see `room`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CPU, AUTO, CUDA = "cpu", "auto", "cuda"

OUR_TORCH = frozenset({"arena", "gymnasium"})
"""Kinds of targets whose networks this program trains itself. What others do with a GPU is their own affair."""


@dataclass(frozen=True)
class Card:
    """A GPU as it is told apart: bits are the same on GPUs of the same name."""

    index: int  # N of `cuda:N`: in the order of CUDA_VISIBLE_DEVICES, where that is not set in the driver's
    visible: str  # what a process that is to see it alone has in CUDA_VISIBLE_DEVICES: its UUID, where NVML tells it
    name: str

    @property
    def device(self) -> str:
        return f"{CUDA}:{self.index}"

    def __str__(self) -> str:
        return f"{self.device} {self.name}".strip()


@dataclass(frozen=True)
class Device:
    """What a process is shown. Without `gpu` none where `hides`; else whatever there is: nobody knows of a GPU."""

    gpu: Card | None = None
    hides: bool = False
    free: bool = False  # whether the process may compute elsewhere too

    @property
    def visible(self) -> str | None:
        """CUDA_VISIBLE_DEVICES of the process; None leaves it as it is."""
        if self.gpu is not None:
            return self.gpu.visible
        return "" if self.hides else None


WHATEVER = Device()


@dataclass(frozen=True)
class Machine:
    """What there is to compute on."""

    gpus: Sequence[Card] = ()
    torch_has_cuda: bool = False


def device_of(setting: str, machine: Machine, kind: str, scale: str) -> tuple[str, str]:
    """What a trial of a target is to compute on, and why: `cpu`, `cuda` (whichever GPU has room for it), `cuda:N`, or
    `auto` (a GPU where one answers).

    `auto` takes a GPU for what may gain from one: networks of scale full, and programs and classes of the user's own,
    which may use it or not, as they did before anybody asked. The networks of scale small have less than a hundred
    thousand weights: their time goes into fights and calls, of which a GPU takes none off.
    """
    if setting != AUTO:
        return setting, f"device: {setting}"
    if kind not in OUR_TORCH:
        return AUTO, "a GPU where one answers: what the program does with it is its own affair"
    if scale != "full":
        return CPU, "networks of scale small are too small to gain from a GPU"
    if not machine.gpus:
        return CPU, "there is no GPU"
    if not machine.torch_has_cuda:
        return CPU, NO_CUDA
    return CUDA, "scale full, and there is a GPU"


NO_CUDA = "the installed torch is built without CUDA"


def problem_of(setting: str, machine: Machine, kind: str) -> str | None:
    """Why a target's trials could never run on what its setting names, and what to do; None where they can."""
    if not setting.startswith(CUDA):
        return None
    if setting not in (card.device for card in machine.gpus):
        return f"there is no {setting}: {listed(machine.gpus)}; give one that is there, auto or cpu"
    if kind in OUR_TORCH and not machine.torch_has_cuda:
        return f"{NO_CUDA}; install one with it, or give auto or cpu"
    return None


def listed(gpus: Iterable[Card]) -> str:
    """What there is, for people."""
    names = [str(card) for card in gpus]
    return f"there are {', '.join(names)}" if len(names) > 1 else f"there is {names[0]}" if names else "there is no GPU"


def starts_over(begun_on: str, setting: str) -> bool:
    """Whether what was saved of a training is of no use under today's setting: somebody asks for another kind of
    device, whose bits are others. Under auto a trial goes on where it began."""
    return setting != AUTO and kind_of(begun_on) != AUTO and kind_of(begun_on) != kind_of(setting)


def kind_of(device: str) -> str:
    """`cpu`, `cuda` or `auto`."""
    return device.partition(":")[0]
