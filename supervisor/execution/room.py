"""Whether one more trial fits beside those that run, by what each may take, not by what it happens to use. Pure.

One trial always fits: a budget larger than the machine is a net, and whoever asks for one trial at a time gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from supervisor.contract import Budget

ROUNDING = 1e-9  # shares of a whole add up to a little more or less than it


@dataclass(frozen=True)
class Admission:
    """The answer, and where it is no, what is short."""

    admitted: bool
    reason: str = ""


@dataclass(frozen=True)
class Room:
    """What there is for trials, those that run included: all that nothing else holds. `vram_fraction` None: no GPU."""

    ram_mb: float
    vram_fraction: float | None


def share_of(budget: Budget, workers: int) -> Budget:
    """One trial's budget where so many run at a time: they divide the GPU's memory; all else is per trial already."""
    return replace(budget, vram_fraction=budget.vram_fraction / workers)


def fits(running: Sequence[Budget], further: Budget, room: Room) -> Admission:
    """Whether a trial with the budget `further` may start beside `running`; budgets as `share_of` gives them."""
    if not running:
        return Admission(True)
    budgets = [*running, further]
    short: list[str] = []
    ram_mb = sum(budget.ram_mb for budget in budgets)
    if ram_mb > room.ram_mb:
        short.append(
            f"{len(budgets)} trials may take {ram_mb} MB of memory, {room.ram_mb:.0f} MB are there (budgets.ram_mb)"
        )
    fraction = sum(budget.vram_fraction for budget in budgets)
    if room.vram_fraction is not None and fraction > room.vram_fraction + ROUNDING:
        short.append(
            f"{len(budgets)} trials may take {100 * fraction:.0f} % of the GPU's memory,"
            f" {100 * room.vram_fraction:.0f} % are there (budgets.vram_fraction)"
        )
    return Admission(not short, "; ".join(short))
