"""How much of N workers the window rule leaves busy, and how much of that the real loop reaches.

Run: python -m tests.benchmarks.window [--iterations 200] [--base-s 0.3]

The rule: proposal i starts when line i - W is committed and a worker is free; lines commit in order; the duel of i
plays once line i - 1 is committed, and takes the next free worker. One trial in ten, or one in 200, is ten times as
long as the others. The first table is a simulation of the rule alone; for the second the real loop runs real trial
processes that wait for as long as their iteration says. What it reaches is compared with the simulation of what those
processes took, duels included; what the loop does between them is the difference.
"""

from __future__ import annotations

import argparse
import heapq
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.config.settings import ResourceSettings
from supervisor.execution.local import LocalExecutor
from supervisor.execution.resources import Monitor
from tests.support.paced import duration_s
from tests.support.small_run import SmallRun, definition

TARGET = "aggressive/noop"
WORKERS = (2, 4)
WINDOWS_PER_WORKER = (2, 4, 8)
ONE_IN = (10, 200)
SIMULATED = 20_000


@dataclass(frozen=True)
class Work:
    """Seconds of one iteration's processes; no duel where `duel_s` is 0."""

    build_s: float
    duel_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.build_s + self.duel_s


def makespan_s(works: Sequence[Work], workers: int, window: int) -> float:
    """Seconds from the first start to the last commit, where nothing takes time but the trials."""
    ends: list[tuple[float, int]] = []  # of what runs
    left = [[work.build_s, *([work.duel_s] if work.duel_s else [])] for work in works]  # stages not begun
    running: set[int] = set()
    now_s, committed, proposed = 0.0, 0, 0
    while committed < len(works):
        while len(running) < workers:
            if committed not in running and committed < proposed and left[committed]:
                due = committed  # the duel of the line that is next
            elif proposed < min(len(works), committed + window):
                due, proposed = proposed, proposed + 1
            else:
                break
            heapq.heappush(ends, (now_s + left[due].pop(0), due))
            running.add(due)
        now_s, ended = heapq.heappop(ends)
        running.remove(ended)
        while committed < proposed and committed not in running and not left[committed]:
            committed += 1
    return now_s


def bound(works: Sequence[Work], workers: int, window: int) -> float:
    """The share of the workers' time that the rule leaves busy."""
    return sum(work.total_s for work in works) / (workers * makespan_s(works, workers, window))


def paced(iterations: int, one_in: int, base_s: float) -> list[Work]:
    return [Work(duration_s(iteration, base_s, one_in)) for iteration in range(1, iterations + 1)]


@dataclass(frozen=True)
class Size:
    """Of a run of the real loop; `base_s` is a short trial."""

    iterations: int
    base_s: float


@dataclass(frozen=True)
class Measured:
    """One run of the real loop."""

    elapsed_s: float
    works: Sequence[Work]  # as the trials' processes took

    def utilization(self, workers: int) -> float:
        return sum(work.total_s for work in self.works) / (workers * self.elapsed_s)


def run_loop(folder: Path, executor: LocalExecutor, workers: int, window: int, one_in: int, size: Size) -> Measured:
    """The real loop, sampler, log, projections and trial processes; the server alone is missing."""
    target = replace(
        definition(TARGET),
        kind="tests.support.paced:PacedTarget",
        settings={"base_s": size.base_s, "one_in": one_in},
    )
    keep: dict[str, dict[str, object]] = {"run": {"retention_trials": size.iterations}}
    run = SmallRun(
        folder, targets=(TARGET,), window=window, definitions={TARGET: target}, settings=keep, dashboard=True
    )
    folder.mkdir()
    monitor = Monitor(folder, ResourceSettings(), ())
    started_s = time.monotonic()
    run.run(size.iterations, slots=workers, executor=executor, admission=monitor.admission, room=monitor.room)
    return Measured(time.monotonic() - started_s, [_taken(folder, number + 1) for number in range(size.iterations)])


def _taken(folder: Path, iteration: int) -> Work:
    seconds = {"build": 0.0, "duel": 0.0}
    for line in (folder / "trials" / f"{iteration:06d}" / "facts.jsonl").read_text().splitlines():
        fact = json.loads(line)
        if fact["fact"] == "exit":
            seconds[fact["stage"]] += fact["seconds"]
    return Work(seconds["build"], seconds["duel"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--base-s", type=float, default=0.3, help="seconds of a short trial")
    options = parser.parse_args()
    size = Size(options.iterations, options.base_s)
    print(f"share of the workers' time that the rule leaves busy, {SIMULATED} iterations, no duels")
    print("N   one in   " + "".join(f"W = {factor}N   " for factor in WINDOWS_PER_WORKER))
    for workers in WORKERS:
        for one_in in ONE_IN:
            works = paced(SIMULATED, one_in, 1.0)
            shares = [bound(works, workers, factor * workers) for factor in WINDOWS_PER_WORKER]
            print(f"{workers:<4d}{one_in:<9d}" + "".join(f"{_percent(share)}  " for share in shares))
    print(f"\nthe real loop, {size.iterations} iterations, short trials of {size.base_s:g} s, W = 4N")
    print("N   one in   elapsed   duels   bound    reached   of the bound   a trial's process beyond its wait")
    base = Path(tempfile.mkdtemp(prefix="window-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        for workers in WORKERS:
            executor = LocalExecutor(workers)
            executor.prepare()
            for one_in in ONE_IN:
                print(_row(base / f"{workers}-{one_in}", executor, workers, one_in, size), flush=True)
            executor.close()
    finally:
        shutil.rmtree(base)


def _row(folder: Path, executor: LocalExecutor, workers: int, one_in: int, size: Size) -> str:
    window = 4 * workers
    measured = run_loop(folder, executor, workers, window, one_in, size)
    nominal = paced(size.iterations, one_in, size.base_s)
    reachable, reached = bound(measured.works, workers, window), measured.utilization(workers)
    beyond_ms = [1e3 * (taken.build_s - due.build_s) for taken, due in zip(measured.works, nominal, strict=True)]
    duels = sum(work.duel_s > 0 for work in measured.works)
    return (
        f"{workers:<4d}{one_in:<9d}{measured.elapsed_s:5.1f} s   {duels:<8d}{_percent(reachable)}  {_percent(reached)}"
        f"   {_percent(reached / reachable)}        {statistics.median(beyond_ms):.0f} ms"
    )


def _percent(share: float) -> str:
    return f"{100 * share:5.1f} %"


if __name__ == "__main__":
    main()
