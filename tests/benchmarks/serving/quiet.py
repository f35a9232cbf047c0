"""How much of the machine others took during a measurement, and measuring again where it was much.

What is kept is chosen by the disturbance alone, never by the figure itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import psutil

QUIET_CORES = 0.15  # taken by others: no more than this is not repeated


class Disturbed(Protocol):
    @property
    def others_cores(self) -> float: ...


Measured = TypeVar("Measured", bound=Disturbed)


def busy_s() -> float:
    """Time that processes of this machine, and other machines on its host, have taken of its cores so far.

    Interrupts are left out: those of the loopback network are not counted as any process's time.
    """
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "steal", 0.0))


def least_disturbed(measure: Callable[[], Measured], tries: int) -> Measured:
    """The first quiet measurement, or of that many the one that others disturbed least."""
    measured: list[Measured] = []
    while len(measured) < tries:
        measured.append(measure())
        if measured[-1].others_cores <= QUIET_CORES:
            break
    return min(measured, key=lambda each: each.others_cores)
