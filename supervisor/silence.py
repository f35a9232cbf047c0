"""Whether the store of experiences answers, as far as a look or a lesson's trial has asked it; an event once for each
outage, whoever met it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from supervisor.experience.outages import Outages


class Silence:
    """Used from the loop's thread alone."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._heard: dict[Path, int] | None = None  # lines of each trial; None before the first turn of this start
        self.reigns = False

    def begins(self, why: str, follows: str) -> None:
        """`follows`: what becomes of whoever met it."""
        if not self.reigns:
            self._report("store_silent", f"{why}; nothing is lost, and {follows}")
        self.reigns = True

    def ends(self) -> None:
        if self.reigns:
            self._report("store_answers", "the experience store answers again")
        self.reigns = False

    def listen(self, trials: Iterable[tuple[int, Path]]) -> None:
        """What the lessons in flight have met since the last turn, by iteration and folder. What earlier starts have
        told is not told again, but for an outage that goes on."""
        heard, self._heard = self._heard, {}
        for iteration, folder in trials:
            lines = Outages(folder).lines()
            begin = heard.get(folder, 0) if heard is not None else len(lines) - 1
            for why in lines[max(0, begin) :]:
                if why:
                    self.begins(why, f"the lesson of iteration {iteration} goes on where it was")
                else:
                    self.ends()
            self._heard[folder] = len(lines)
