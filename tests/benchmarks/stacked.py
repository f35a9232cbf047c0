"""What `run.stacked` saves: the same short search with and without it, in real processes, and whether the logs agree.

`python -m tests.benchmarks.stacked [--workers K] [--iterations N] [--steps S] [--cpus C]`: seconds by the wall's clock
and of the processor. Other load on the machine hits the side with fewer processes harder by the wall's clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from supervisor.journal.log import read_log
from tests.support.processes import finish, start
from tests.support.small_run import comparable

LIMIT_S = 3600.0


@dataclass(frozen=True)
class Side:
    """One run, to its end."""

    lines: list[dict[str, object]]
    wall_s: float
    cpu_s: float


def side(stacked: bool, workers: int, iterations: int, steps: int) -> Side:
    flags = ("--targets", "aggressive/combat_dqn", "--seed", "7", "--workers", str(workers))
    environ = {
        "INCUMBENT_RUN__STACKED": str(stacked).lower(),
        "INCUMBENT_BUDGETS__RAM_MB": "1024",
        "OMP_NUM_THREADS": "1",
        **({"INCUMBENT_BUDGETS__STEPS": str(steps)} if steps else {}),
    }
    with tempfile.TemporaryDirectory() as place:
        run_dir = Path(place) / "run"
        cpu_s, began_s = _children_s(), time.monotonic()
        finish(start(run_dir, *flags, "--max-iterations", str(iterations), environ=environ), run_dir, LIMIT_S)
        wall_s = time.monotonic() - began_s
        return Side(comparable(read_log(run_dir).records), wall_s, _children_s() - cpu_s)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _report(workers: int, iterations: int, steps: int) -> None:
    print(f"{iterations} iterations, {workers} workers, {len(os.sched_getaffinity(0))} CPUs")
    alone, stacked = (side(on, workers, iterations, steps) for on in (False, True))
    for name, one in (("each alone", alone), ("stacked", stacked)):
        print(f"{name:12}{one.wall_s:8.1f} s wall{one.cpu_s:8.1f} s processor")
    print(f"{'share':12}{stacked.wall_s / alone.wall_s:8.2f}{stacked.cpu_s / alone.cpu_s:13.2f}")
    print(f"the same log: {stacked.lines == alone.lines}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--steps", type=int, default=0, help="of a training; by default the small scale's")
    parser.add_argument("--cpus", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cpus])
    _report(asked.workers, asked.iterations, asked.steps)
