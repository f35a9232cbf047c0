"""Bugs planted on purpose: a matrix that does not notice them would be worth nothing.

    python -m tests.faults.planted                   every bug; some minutes
    python -m tests.faults.planted --bug "*fsync*"   some of them

Each bug is planted in a process of its own, in the victim as in what recovers it, and that process runs the cells and
tests that ought to notice: first some points of each, spread evenly, then the rest. Before all others the cells are
looked through with nothing planted. Prints a table; exit code 1 where a bug was missed.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.faults.__main__ import default_folder
from tests.faults.bugs import BUGS, HEALTHY, Bug
from tests.faults.cell import Cell
from tests.faults.cells import all_cells
from tests.faults.forked import Child, fork, run_all
from tests.support.processes import ROOT

FIRST_LOOK = 24  # points of a cell before another is tried
HEALTHY_LOOK = 4  # where nothing is planted
LIMIT_S = 1800.0
NOTICED_NAME = "noticed.json"
UNDISTURBED = "the undisturbed run"


@dataclass(frozen=True)
class Noticed:
    """Who caught a bug (nobody: empty), where, and after how many points of all that were tried."""

    by: str = ""
    at: str = ""
    points: int = 0


@dataclass
class Hunt:
    """The search for a bug that is planted in this process. `folder` is its own."""

    folder: Path
    look: int = FIRST_LOOK
    points: int = 0

    def run(self, bug: Bug) -> Noticed:
        for edit in bug.edits:
            edit.apply()
        waiting: list[tuple[Cell, Sequence[str]]] = []
        for name in bug.noticed_by:
            if name.startswith("tests/"):
                noticed = self._test(name)
                if noticed is not None:
                    return noticed
            for cell in self._cells(name):
                noticed, later = self._first_look(cell)
                if noticed is not None:
                    return noticed
                waiting.append((cell, later))
        for cell, later in waiting if bug.edits else ():
            noticed = self._try(cell, later)
            if noticed is not None:
                return noticed
        return Noticed(points=self.points)

    def _cells(self, name: str) -> list[Cell]:
        known = [cell for cell in all_cells(self.folder) if fnmatch.fnmatch(cell.name, name)]
        return [cell for cell in known if not cell.unavailable()]

    def _first_look(self, cell: Cell) -> tuple[Noticed | None, Sequence[str]]:
        try:
            points = cell.points(self.folder)
        except RuntimeError:
            return Noticed(cell.name, UNDISTURBED, self.points), ()
        stride = max(1, len(points) // self.look)
        later = [point for number, point in enumerate(points) if number % stride]
        return self._try(cell, points[::stride]), later

    def _try(self, cell: Cell, points: Sequence[str]) -> Noticed | None:
        def begin(point: str) -> Child:
            folder = self.folder / "point"
            shutil.rmtree(folder, ignore_errors=True)
            return fork(point, folder, lambda: cell.check(point, folder))

        for child in run_all(points, begin, 1, cell.limit_s):
            self.points += 1
            if child.bury()[1]:
                return Noticed(cell.name, child.task, self.points)
        return None

    def _test(self, path: str) -> Noticed | None:
        os.chdir(ROOT)
        listener = FirstFailure()
        pytest.main([path, "-x", "-n0", "-p", "no:cacheprovider"], plugins=[listener])
        self.points += listener.tests
        return Noticed(path, listener.failed, self.points) if listener.failed else None


class FirstFailure:
    """A pytest plugin: the name of the test that failed, and how many ran."""

    def __init__(self) -> None:
        self.failed, self.tests = "", 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests += report.when == "call"
        if report.failed and not self.failed:
            self.failed = report.nodeid.rpartition("::")[2]


def hunt(bug: Bug, folder: Path) -> int:
    noticed = Hunt(folder, FIRST_LOOK if bug.edits else HEALTHY_LOOK).run(bug)
    (folder / NOTICED_NAME).write_text(json.dumps(asdict(noticed)))
    return 1


def results(bugs: Sequence[Bug], folder: Path, jobs: int) -> Iterator[tuple[str, Noticed, float]]:
    """Bug, who noticed it, seconds: as they come."""
    by_name = {bug.name: bug for bug in bugs}

    def begin(name: str) -> Child:
        mine = folder / name.replace(" ", "_").replace("'", "")
        return fork(name, mine, partial(hunt, by_name[name], mine))

    for child in run_all(by_name, begin, jobs, LIMIT_S):
        failure = child.bury()[1]
        if failure:
            yield child.task, Noticed(at=failure.strip().splitlines()[-1]), child.seconds
        else:
            yield child.task, Noticed(**json.loads((child.folder / NOTICED_NAME).read_text())), child.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bug", action="append", default=[], help="bugs by name or glob; may be given again")
    parser.add_argument("--dir", type=Path, default=None, help="where to work")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="bugs at a time")
    given = parser.parse_args()
    chosen = [bug for bug in BUGS if not given.bug or any(fnmatch.fnmatch(bug.name, glob) for glob in given.bug)]
    folder = (given.dir or default_folder()) / "planted"
    shutil.rmtree(folder, ignore_errors=True)
    healthy = next(results([HEALTHY], folder, 1))[1]
    if healthy.by or healthy.at:
        print(f"with nothing planted: {healthy.by}, {healthy.at}: broken already")
        return 1
    rows, missed = {}, 0
    for name, noticed, seconds in results(chosen, folder, given.jobs):
        missed += not noticed.by
        where = f"{noticed.by}, {noticed.at}" if noticed.by else f"**nobody** {noticed.at}"
        rows[name] = f"| {name} | {where} | {noticed.points} | {seconds:.0f} |"
        print(rows[name], flush=True)
    print("\n| bug | caught by | after points | seconds |\n|---|---|---:|---:|")
    print("\n".join(rows[bug.name] for bug in chosen))
    print(f"\n{len(chosen) - missed} of {len(chosen)} caught")
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
