"""The figures, a line for each part, and what issue 5 asks for beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tests.benchmarks.serving.quiet import QUIET_CORES
from tests.benchmarks.serving.targets import Target
from tests.benchmarks.swaps.judging import Faults, Times

if TYPE_CHECKING:
    from tests.benchmarks.swaps.bench import Bench
    from tests.benchmarks.swaps.phases import Phase

PACED = ", paced"
CONTROLS = ("control before", "control after")
CHANGING = ("swaps, built", "swaps, warm", "rollbacks")
NO_WORSE_MS = 50.0
ROLLBACK_MS = 5.0

_TIMES = f"{'p50 ms':>8} {'p99 ms':>8} {'worst':>8}"


def heading() -> str:
    counts = f"{'answers':>8} {'per s':>7} {'failed':>6} {'wrong':>6} {'stale':>6}"
    return f"{'':21} {counts} | {_TIMES} | {'beside':>8} {_TIMES} | {'others':>6}"


def print_phase(phase: Phase) -> None:
    faults = phase.faults
    per_s = phase.requests / phase.seconds
    counts = f"{phase.requests:8} {per_s:7.0f} {faults.failed:6} {faults.wrong:6} {faults.stale:6}"
    near = f"{phase.beside.count:8} {_shown(phase.beside)}"
    print(f"{phase.name:21} {counts} | {_shown(phase.all)} | {near} | {phase.others_cores:6.2f}", flush=True)
    for kind, times in phase.acks.items():
        print(f"    {times.count} {kind}s acknowledged after {told(times)}", flush=True)
    if phase.first_fault:
        print(f"    first fault: {phase.first_fault[:200]!r}", flush=True)


def _shown(times: Times) -> str:
    if not times.count:
        return f"{'-':>8} {'-':>8} {'-':>8}"
    return f"{times.p50_ms:8.2f} {times.p99_ms:8.2f} {times.worst_ms:8.2f}"


def told(times: Times) -> str:
    return f"p50 {times.p50_ms:.2f}, p99 {times.p99_ms:.2f}, worst {times.worst_ms:.2f} ms"


def disturbed(bench: Bench) -> str:
    count = sum(phase.others_cores > QUIET_CORES for phase in bench.phases.values())
    return f"others took more than {QUIET_CORES} cores in {count} of {len(bench.phases)} parts"


def targets(bench: Bench) -> Iterator[Target]:
    phases = bench.phases
    changing = [phases[name] for name in CHANGING]
    yield Target("answers while versions change, as fast as it answers", sum(it.requests for it in changing), 100_000)
    for kind in ("reload", "rollback"):
        yield Target(f"{kind}s meanwhile", sum(it.acks[kind].count for it in changing if kind in it.acks), 100)
    everything = sum((phase.faults for phase in phases.values()), Faults(0, 0, 0))
    for name, count in (("failed", everything.failed), ("wrong", everything.wrong), ("stale", everything.stale)):
        yield Target(f"answers {name}, in all parts", count, 0, least=False)
    for mark in ("", PACED):
        yield from _delays(phases, mark)
    early_mb, late_mb = bench.rss_mb or (0.0, 0.0)
    text = f"RSS after {bench.plan.reloads} reloads by that after {bench.plan.early_reloads}"
    yield Target(text, late_mb / early_mb if early_mb else None, 1.15, least=False)
    if bench.storm:
        yield Target("storm: where the stories differ", len(bench.storm.disagreements), 0, least=False)


def _delays(phases: Mapping[str, Phase], mark: str) -> Iterator[Target]:
    before, after = (phases[name + mark].all for name in CONTROLS)
    p99_ms = (before.p99_ms + after.p99_ms) / 2
    worst_ms = max(NO_WORSE_MS, 1.5 * max(before.worst_ms, after.worst_ms))
    for phase in (phases[name + mark] for name in CHANGING):
        yield Target(f"{phase.name}: p99 of the whole part by the controls'", phase.all.p99_ms / p99_ms, 2, False)
        yield Target(f"{phase.name}: p99 beside a change by the controls'", phase.beside.p99_ms / p99_ms, 2, False)
        yield Target(f"{phase.name}: worst, ms", phase.all.worst_ms, worst_ms, False)
    acks = phases["rollbacks" + mark].acks["rollback"]
    for name, value_ms in (("p50", acks.p50_ms), ("p99", acks.p99_ms), ("worst", acks.worst_ms)):
        yield Target(f"rollback{mark}: acknowledged after, {name}, ms", value_ms, ROLLBACK_MS, least=False)
