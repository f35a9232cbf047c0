"""Tries every point of the chosen cells, remembers what has passed, and prints one table."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.cell import Cell, Result
from tests.faults.forked import Child, fork, run_all
from tests.faults.progress import Progress


def every(stride: int) -> Callable[[Cell, Sequence[str]], Sequence[str]]:
    return lambda cell, points: points[::stride]


def reduced(cell: Cell, points: Sequence[str]) -> Sequence[str]:
    """As many as the cell says, spread evenly from the first to the last; a single one is the last."""
    if len(points) <= cell.reduced:
        return points
    if cell.reduced == 1:
        return [points[-1]]
    return [points[number * (len(points) - 1) // (cell.reduced - 1)] for number in range(cell.reduced)]


@dataclass
class Tally:
    """One line of the table."""

    cell: Cell
    tried: int = 0
    passed: int = 0
    faults: int = 0
    seconds: float = 0.0  # of all points, as if they had run one after the other
    skipped: str = ""
    failures: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.tried += 1
        self.passed += not result.failure
        self.faults += result.faults
        self.seconds += result.seconds
        if result.failure:
            self.failures.append(result)


class Matrix:
    """Works in `folder`, in which the progress lies too. `choose` takes the points of a cell that are to be tried."""

    def __init__(self, folder: Path, jobs: int, choose: Callable[[Cell, Sequence[str]], Sequence[str]]) -> None:
        self._folder = folder
        self._jobs = jobs
        self._choose = choose
        self._progress = Progress(folder)

    def run(self, cells: Sequence[Cell]) -> list[Tally]:
        return [self._run(cell) for cell in cells]

    def _run(self, cell: Cell) -> Tally:
        tally = Tally(cell, skipped=cell.unavailable())
        if tally.skipped:
            print(f"{cell.name}: not run here: {tally.skipped}", flush=True)
            return tally
        started_s = time.monotonic()
        scratch = self._folder / "points"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        points = self._choose(cell, cell.points(self._folder))
        fresh = []
        for point in points:
            before = self._progress.passed(cell.name, point)
            if before is None:
                fresh.append(point)
            else:
                tally.add(before)
        print(f"{cell.name}: {len(points)} points, {len(points) - len(fresh)} shown before", flush=True)
        numbers = {point: number for number, point in enumerate(fresh)}

        def begin(point: str) -> Child:
            folder = scratch / f"{numbers[point]:06d}"
            return fork(point, folder, lambda: cell.check(point, folder))

        for child in run_all(fresh, begin, 1 if cell.alone else self._jobs, cell.limit_s):
            tally.add(self._end(cell, child))
        print(f"  {tally.passed} of {tally.tried} passed, {time.monotonic() - started_s:.0f} s", flush=True)
        return tally

    def _end(self, cell: Cell, child: Child) -> Result:
        faults, failure = child.bury()
        result = Result(cell.name, child.task, faults, round(child.seconds, 3), failure)
        self._progress.add(result)
        if failure:
            print(f"  FAILED at {child.task} (kept: {child.folder})\n    " + failure.strip().replace("\n", "\n    "))
        else:
            shutil.rmtree(child.folder)
        return result


def table(tallies: Sequence[Tally]) -> str:
    """Markdown, as the README shows it."""
    lines = ["| cell | tier | points | faults | passed | seconds |", "|---|---|---:|---:|---:|---:|"]
    for tally in tallies:
        passed = f"not run: {tally.skipped}" if tally.skipped else str(tally.passed)
        columns = (tally.cell.name, tally.cell.tier, tally.tried, tally.faults, passed, f"{tally.seconds:.0f}")
        lines.append(f"| {' | '.join(map(str, columns))} |")
    ran = [tally for tally in tallies if not tally.skipped]
    sums = [sum(getattr(tally, name) for tally in ran) for name in ("tried", "faults", "passed", "seconds")]
    return "\n".join([*lines, f"| **all** | | {sums[0]} | {sums[1]} | {sums[2]} | {sums[3]:.0f} |"])
