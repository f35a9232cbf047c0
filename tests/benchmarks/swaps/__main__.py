"""The command line of the benchmark; see the package's first lines."""

from __future__ import annotations

import argparse
import datetime
import os
from dataclasses import replace

import onnxruntime

from tests.benchmarks.swaps.bench import Bench, Plan
from tests.benchmarks.swaps.nets import LARGE, SMALL
from tests.benchmarks.swaps.table import disturbed, heading, targets, told

SIZES = {size.name: size for size in (SMALL, LARGE)}
FULL = Plan(
    seconds=12,
    connections=64,
    rate_hz=60,
    swaps=120,
    rollbacks=100,
    storm_orders=40,
    early_reloads=10,
    reloads=1000,
)
QUICK = replace(FULL, seconds=2, swaps=30, rollbacks=20, storm_orders=10, reloads=50)


def _plan() -> tuple[Plan, list[str]]:
    parser = argparse.ArgumentParser(description="Swaps and rollbacks under load, every answer checked.")
    parser.add_argument("--seconds", type=float, help=f"of each part; {FULL.seconds:g}, or {QUICK.seconds:g}")
    parser.add_argument("--reloads", type=int, help=f"after which memory is compared; {FULL.reloads}, {QUICK.reloads}")
    parser.add_argument("--only", choices=sorted(SIZES), help="one size of network")
    parser.add_argument("--quick", action="store_true", help="few of everything; targets of number are not met")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    changed = {name: value for name in ("seconds", "reloads") if (value := getattr(arguments, name)) is not None}
    return replace(plan, **changed), [arguments.only] if arguments.only else list(SIZES)


def main() -> None:
    plan, names = _plan()
    now = datetime.datetime.now(datetime.UTC).isoformat(sep=" ", timespec="minutes")
    print(f"{now}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, onnxruntime {onnxruntime.__version__}")
    print(f"{plan.connections} connections, batch 1, half OIP binary, half raw")
    print(f"{plan.seconds:g} s each part, or until all its changes are made")
    print(f"asked as fast as they are answered; paced: {plan.rate_hz:g} requests a second of each")
    print("beside: answers that were under way while a change was; others: cores that other programs took")
    for name in names:
        bench = Bench(SIZES[name], plan)
        print(f"\n{name} network, {bench.size.parameters:,} parameters\n{heading()}")
        bench.run()
        _summarize(bench)
    print(f"\nload {os.getloadavg()[0]:.1f} after")


def _summarize(bench: Bench) -> None:
    assert bench.disk is not None
    assert bench.rss_mb is not None
    assert bench.storm is not None
    print(f"the disk, during the controls: a line and its folder made durable in {told(bench.disk)}")
    print(f"RSS {bench.rss_mb[0]:.0f} MB after {bench.plan.early_reloads} reloads, {bench.rss_mb[1]:.0f} MB at the end")
    print(bench.storm)
    for disagreement in bench.storm.disagreements:
        print(f"    {disagreement}")
    print(f"{disturbed(bench)}\n\nTargets of issue 5, {bench.size.name} network:")
    for target in targets(bench):
        print(target)


if __name__ == "__main__":
    main()
