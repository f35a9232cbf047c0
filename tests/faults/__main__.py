"""The fault matrix: every fault at every point, and the finished run compared with an undisturbed one.

    python -m tests.faults                       everything; interrupted, the same command goes on
    python -m tests.faults --tier A --jobs 2     what needs no real training
    python -m tests.faults --cell "kill: *"      some cells; --list names all
    python -m tests.faults --every 20            each 20th point
    python -m tests.faults --reduced             what the slow tests try, and CI with them

Prints a line per cell, every broken promise with what differs, and the table. Exit code 1 where a promise broke,
2 where nothing was tried.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import tempfile
from pathlib import Path

from tests.faults.cell import TIER_A
from tests.faults.cells import all_cells
from tests.faults.matrix import Matrix, every, reduced, table
from tests.faults.scenario import warm_up


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", choices=["A", "B"], help="one tier only")
    parser.add_argument("--cell", action="append", default=[], help="cells by name or glob; may be given again")
    parser.add_argument("--dir", type=Path, default=None, help="where to work and remember what has passed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="points at a time")
    parser.add_argument("--every", type=int, default=1, help="try each n-th point only")
    parser.add_argument("--reduced", action="store_true", help="some points of each cell of tier A")
    parser.add_argument("--list", action="store_true", help="name the cells and leave")
    given = parser.parse_args()
    folder = given.dir or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    tier = "A" if given.reduced else given.tier
    cells = [cell for cell in all_cells(folder) if tier in (None, cell.tier) and _chosen(cell.name, given.cell)]
    if given.reduced:
        cells = [cell for cell in cells if cell.reduced > 0]
    if given.list:
        for cell in cells:
            print(f"{cell.tier}  {cell.name}: {cell.promise}")
        return 0
    if any(cell.tier == TIER_A for cell in cells):
        warm_up(folder)
    tallies = Matrix(folder, given.jobs, reduced if given.reduced else every(given.every)).run(cells)
    print("\n" + table(tallies))
    if not any(tally.tried for tally in tallies):
        print("nothing was tried: --list names the cells")
        return 2
    return int(any(tally.failures or not (tally.tried or tally.skipped) for tally in tallies))


def _chosen(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def default_folder() -> Path:
    """In memory where the machine has it: what is tried is what is on disk, not how fast the disk is."""
    memory = Path("/dev/shm")
    return (memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())) / "incumbent-faults"


if __name__ == "__main__":
    raise SystemExit(main())
