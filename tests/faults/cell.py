"""One cell of the fault matrix: a kind of fault, the points where it strikes, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TIER_A = "A"  # the supervisor's real code on a trial that costs nothing, in a forked process
TIER_B = "B"  # everything real: processes, torch, export, server


@dataclass(frozen=True)
class Cell:
    """`points` names the places where the fault can strike, given a scratch folder; `check(point, folder)` lets it
    strike at one, in a forked process with an empty folder of its own, and returns how many faults it dealt. It raises
    whatever, naming what differs, where the promise is broken."""

    name: str
    tier: str
    promise: str
    points: Callable[[Path], Sequence[str]]
    check: Callable[[str, Path], int]
    unavailable: Callable[[], str] = lambda: ""  # why this machine cannot run it
    limit_s: float = 120.0  # a point that takes longer hangs
    alone: bool = False  # its points do not run beside each other
    reduced: int = 4  # points that the slow tests try, spread evenly; 0 leaves the cell out there


@dataclass(frozen=True)
class Result:
    """How one point ended. `failure` is empty where the promise held."""

    cell: str
    point: str
    faults: int
    seconds: float
    failure: str = ""


class PromiseBrokenError(AssertionError):
    """What differs from the undisturbed run, or was not as documented."""
