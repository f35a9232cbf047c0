"""How fast the arena alone is: environment steps per second of one core, against numpy's own floor.

    python -m tests.benchmarks.arena [--rows 1024] [--seconds 2]

A busy machine makes absolute figures meaningless, so processor time is counted and each figure stands beside a floor:
the same core multiplying one float32 array of `rows` numbers by another, which is what the cheapest operation on all
fights costs. `operations` is a step in units of that floor, and hardly depends on the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from tests.support.arena_play import actions_of
from trainers.arena.arena import Arena
from trainers.arena.stats import ARCHETYPES

REPEATS = 5


def best_s(work: Callable[[], object], budget_s: float) -> float:
    """Processor seconds of one call: the least over a few runs of many calls."""
    calls, taken_s = 1, 0.0
    while taken_s < budget_s / REPEATS / 4:
        calls *= 2
        taken_s = _processor_s(work, calls)
    return min(_processor_s(work, calls) for _ in range(REPEATS)) / calls


def _processor_s(work: Callable[[], object], calls: int) -> float:
    started_s = time.process_time()
    for _ in range(calls):
        work()
    return time.process_time() - started_s


def floor_s(rows: int, budget_s: float) -> float:
    """One multiplication of float32 arrays of `rows` numbers into a third."""
    a, b = np.ones(rows, np.float32), np.full(rows, 1.0001, np.float32)
    out = np.empty_like(a)
    return best_s(lambda: np.multiply(a, b, out=out), budget_s)


def step_s(archetype: str, rows: int, budget_s: float) -> float:
    """One step of all fights, decided ones reopened, actions ready made."""
    arena = Arena(rows, archetype, 3)
    seeds = np.arange(rows, dtype=np.uint64)
    arena.start(seeds)
    actions = [actions_of(seeds, tick) for tick in range(64)]
    ticks = iter(range(10**9))
    return best_s(lambda: arena.step(actions[next(ticks) % 64]), budget_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 512, 1024])
    parser.add_argument("--seconds", type=float, default=2.0, help="per figure")
    options = parser.parse_args()
    print(f"{'archetype':11} {'rows':>5} {'steps/s':>12} {'ms per step':>12} {'floor us':>9} {'operations':>11}")
    for rows in options.rows:
        for archetype in sorted(ARCHETYPES):
            floor, step = floor_s(rows, options.seconds / 4), step_s(archetype, rows, options.seconds)
            figures = f"{rows / step:12,.0f} {step * 1e3:12.3f} {floor * 1e6:9.3f} {step / floor:11.0f}"
            print(f"{archetype:11} {rows:5} {figures}")


if __name__ == "__main__":
    main()
