"""Whether a run of months stays as small as it began. Run: python -m tests.benchmarks.endurance

A real supervisor process works through no-op iterations; from outside its memory, descriptors, threads, children and
its folder are looked at every few hundred of them. First with real trial processes, a fork each, then more iterations
with the trials in the supervisor's own process, where an iteration costs milliseconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from supervisor.journal.log import LOG_NAME
from tests.support.command_line import NoopFolder, in_process
from tests.support.processes import ROOT, console
from tests.support.remains import below, descriptors_of

WARM_UP = 0.4  # of the samples: imports, caches, arenas of the allocator, what samplers learn from up to its bound
LOOK_S = 0.02
HEAD = "iteration       s   RSS MB   PSS MB   descriptors   threads   children   folder MB"
MB = 1024.0  # kB in one


@dataclass(frozen=True)
class Sample:
    """The supervisor after some iterations."""

    iteration: int
    seconds: float
    rss_mb: float
    pss_mb: float
    descriptors: int
    threads: int
    children: int
    folder_mb: float

    @classmethod
    def of(cls, pid: int, run_dir: Path, iteration: int, seconds: float) -> Sample:
        rollup = dict(_kilobytes(Path(f"/proc/{pid}/smaps_rollup")))
        return cls(
            iteration,
            seconds,
            rollup["Rss"] / MB,
            rollup["Pss"] / MB,
            len(descriptors_of(pid)),
            len(os.listdir(f"/proc/{pid}/task")),
            len(below(pid)),
            sum(path.stat().st_blocks for path in _files(run_dir)) * 512 / 2**20,
        )

    def row(self) -> str:
        return (
            f"{self.iteration:9d} {self.seconds:7.0f} {self.rss_mb:8.1f} {self.pss_mb:8.1f}"
            f" {self.descriptors:13d} {self.threads:9d} {self.children:10d} {self.folder_mb:11.1f}"
        )


def endure(folder: Path, iterations: int, every: int, sampler: str, forked: bool) -> list[Sample]:
    """Samples of a run from its first line to its last."""
    noop = NoopFolder.make(folder)
    print(HEAD, flush=True)
    process = start(noop, iterations, sampler, forked)
    samples: list[Sample] = []
    began_s = time.monotonic()
    try:
        for done in iterations_of(noop.run_dir, process):
            if done and done // every > (samples[-1].iteration // every if samples else 0):
                samples.append(Sample.of(process.pid, noop.run_dir, done, time.monotonic() - began_s))
                print(samples[-1].row(), flush=True)
    finally:
        process.terminate()
        process.wait()
    if process.returncode:
        sys.exit(console(noop.run_dir))
    return samples


def start(noop: NoopFolder, iterations: int, sampler: str, forked: bool) -> subprocess.Popen[bytes]:
    flags = ("--run-dir", str(noop.run_dir), *noop.flags, "--max-iterations", str(iterations), "--sampler", sampler)
    module = ("-m", "supervisor") if forked else ("-m", "tests.benchmarks.endurance", "--inside")
    with noop.run_dir.with_name(noop.run_dir.name + ".console").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *module, "run", *flags], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )


def iterations_of(run_dir: Path, process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Lines committed so far, again and again while the process lives."""
    pause = threading.Event()
    lines = offset = 0
    path = run_dir / LOG_NAME
    while process.poll() is None:
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(offset)
                data = stream.read()
            lines, offset = lines + data.count(b"\n"), offset + len(data)
        yield lines
        pause.wait(LOOK_S)


def slope_per_1000(samples: list[Sample], name: str) -> float:
    """Growth per 1,000 iterations behind the warm-up: the least squares line."""
    behind = samples[int(len(samples) * WARM_UP) :]
    if len(behind) < 2:
        return 0.0
    xs, ys = [sample.iteration / 1000 for sample in behind], [float(getattr(sample, name)) for sample in behind]
    return statistics.linear_regression(xs, ys).slope


def report_slopes(samples: list[Sample]) -> None:
    slopes = {name: slope_per_1000(samples, name) for name in ("rss_mb", "pss_mb", "descriptors", "folder_mb")}
    print("per 1,000 iterations: " + ", ".join(f"{name} {slope:+.2f}" for name, slope in slopes.items()))
    print(flush=True)


def _kilobytes(path: Path) -> Iterator[tuple[str, int]]:
    for line in path.read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        yield name, int(rest.split()[0])


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.exists():  # retention is at work
                yield path


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        from supervisor import cli

        with in_process():
            sys.exit(cli.run_cli(sys.argv[2:]))
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--iterations", type=int, default=10_000, help="with trials in the supervisor's process")
    arguments.add_argument("--forked", type=int, default=2_000, help="with a process for every trial")
    arguments.add_argument("--every", type=int, default=500, help="iterations between two looks")
    arguments.add_argument("--sampler", default="spsa")
    arguments.add_argument("--folder", type=Path, help="where to work; default a temporary folder on the disk")
    given = arguments.parse_args()
    base = Path(tempfile.mkdtemp(prefix="incumbent-endurance-", dir=given.folder))
    try:
        for forked, iterations in ((True, given.forked), (False, given.iterations)):
            if iterations:
                where = "a process for every trial" if forked else "trials in the supervisor's own process"
                print(f"{given.sampler}, {where}")
                report_slopes(endure(base / str(forked), iterations, given.every, given.sampler, forked))
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
