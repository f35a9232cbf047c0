"""The bare loop: `session.run` again and again in a process of its own, without HTTP.

python -m tests.benchmarks.serving.floor ROWS SECONDS
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from tests.benchmarks.serving import subject
from tests.benchmarks.serving.quiet import busy_s

RUNS_PER_LOOK = 50  # at the clock


@dataclass(frozen=True)
class Floor:
    rows: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_mb: float
    others_cores: float


def floor(rows: int, seconds: float) -> Floor:
    command = [sys.executable, "-m", "tests.benchmarks.serving.floor", str(rows), str(seconds)]
    return Floor(**json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def _measure(rows: int, seconds: float) -> Floor:
    session, states = subject.session(), subject.states(rows)
    feed = {subject.INPUT: states}
    times_s = []
    for _ in range(RUNS_PER_LOOK):
        session.run(None, feed)
    others_s, cpu_s, begun_s = busy_s(), time.process_time(), time.perf_counter()
    count = 0
    while (started_s := time.perf_counter()) - begun_s < seconds:
        for _ in range(RUNS_PER_LOOK):
            session.run(None, feed)
        times_s.append((time.perf_counter() - started_s) / RUNS_PER_LOOK)
        count += RUNS_PER_LOOK
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    others_s = busy_s() - others_s - cpu_s
    p50_ms, p99_ms = (1e3 * float(np.quantile(times_s, q)) for q in (0.5, 0.99))
    return Floor(
        rows=rows,
        per_s=count / took_s,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        cpu_us=1e6 * cpu_s / count,
        rss_mb=psutil.Process().memory_info().rss / 1e6,
        others_cores=max(0.0, others_s / took_s),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(int(sys.argv[1]), float(sys.argv[2])))))
