"""The load from the outside: started, stopped, and what it noted."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from tests.benchmarks.serving.quiet import busy_s
from tests.benchmarks.swaps.generator import Spec
from tests.benchmarks.swaps.nets import Size
from tests.support.served_folder import TARGET

END_S = 60.0


@dataclass(frozen=True)
class Log:
    """Every answer, a row each. Times are `time.monotonic()`, which all processes of a machine share; `versions` holds
    places in `names`, less than 0 where no known version answered."""

    names: tuple[str, ...]
    sent_s: NDArray[np.float64]
    answered_s: NDArray[np.float64]
    versions: NDArray[np.int16]
    wrong: NDArray[np.int8]
    faults: tuple[str, ...]
    seconds: float
    others_cores: float  # taken by other programs meanwhile

    @property
    def latency_ms(self) -> NDArray[np.float64]:
        return 1e3 * (self.answered_s - self.sent_s)


@dataclass
class Asked:
    """Filled when the load has ended."""

    log: Log | None = None


@dataclass(frozen=True)
class Asking:
    """Who is to be asked for what, by how many connections."""

    port: int
    pid: int  # of the server
    size: Size
    seeds: Mapping[str, int]  # of every version that may answer
    connections: int
    rate_hz: float | None = None  # of each connection; None: as fast as it is answered

    @contextlib.contextmanager
    def under_load(self) -> Iterator[Asked]:
        """The load runs, warm, while the block does; what it noted is there after it."""
        asked = Asked()
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "log.npz"
            hidden = list(self.size.hidden)
            spec = Spec(self.port, TARGET, self.connections, hidden, dict(self.seeds), str(path), self.rate_hz)
            command = [sys.executable, "-m", "tests.benchmarks.swaps.generator"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdin is not None
                    assert process.stdout is not None
                    process.stdin.write(json.dumps(asdict(spec)) + "\n")
                    process.stdin.flush()
                    assert process.stdout.readline() == "ready\n", "the load generator failed"
                    clock = _Clock((self.pid, process.pid))
                    yield asked
                    seconds, others_cores = clock.stop()
                    process.stdin.close()
                    assert process.wait(END_S) == 0, "the load generator failed"
                finally:
                    process.kill()
            asked.log = _read(path, tuple(self.seeds), seconds, others_cores)


class _Clock:
    """How long it ran, and how many cores other programs than these took."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        self._processes = [psutil.Process(), *(psutil.Process(pid) for pid in pids)]
        self._begun_s, self._others_s = time.monotonic(), self._busy_s()

    def _busy_s(self) -> float:
        return busy_s() - sum(sum(process.cpu_times()[:2]) for process in self._processes)

    def stop(self) -> tuple[float, float]:
        seconds = time.monotonic() - self._begun_s
        return seconds, max(0.0, self._busy_s() - self._others_s) / seconds


def _read(path: Path, names: tuple[str, ...], seconds: float, others_cores: float) -> Log:
    with np.load(path) as saved:
        columns = [saved[name] for name in ("sent_s", "answered_s", "versions", "wrong")]
        return Log(names, *columns, tuple(str(fault) for fault in saved["faults"]), seconds, others_cores)
