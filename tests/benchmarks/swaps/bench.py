"""The run for one size of network."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from supervisor.serving.options import ServerOptions
from tests.benchmarks.swaps import judging
from tests.benchmarks.swaps.asking import Asking
from tests.benchmarks.swaps.changes import RELOAD, Changer
from tests.benchmarks.swaps.disk import Disk
from tests.benchmarks.swaps.judging import Times
from tests.benchmarks.swaps.nets import Size
from tests.benchmarks.swaps.phases import Phase, changed, changing, control, in_turn, there_and_back
from tests.benchmarks.swaps.storm import CLIENTS, Storm, storm
from tests.benchmarks.swaps.table import PACED, print_phase
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess

NETWORKS = 6  # that differ; versions take turns with them
TURNING = 3  # so many versions are swapped for each other
SETTLE_S = 0.5  # until what was replaced is freed
RSS_CONNECTIONS = 4


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    seconds: float  # of each part
    connections: int
    rate_hz: float  # of each connection in the paced parts
    swaps: int
    rollbacks: int
    storm_orders: int  # of each client
    early_reloads: int  # after which the memory is looked at first
    reloads: int  # and for the last time


@dataclass
class Bench:
    size: Size
    plan: Plan
    phases: dict[str, Phase] = field(default_factory=dict)
    disk: Times | None = None
    storm: Storm | None = None
    rss_mb: tuple[float, float] | None = None  # early and late

    def run(self) -> None:
        with self._served(TURNING + 2 * self.plan.rollbacks + self.plan.storm_orders * CLIENTS // 2) as (
            server,
            asking,
        ):
            self._measure(server, asking)
        with self._served(TURNING) as (server, asking):
            self._measure_memory(asking)

    @contextlib.contextmanager
    def _served(self, count: int) -> Iterator[tuple[ServerProcess, Asking]]:
        """So many versions, committed; the first is live."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = ServedFolder(Path(scratch) / "run")
            networks = [self.size.onnx_bytes(seed) for seed in range(NETWORKS)]
            seeds = {folder.commit(networks[number % NETWORKS]).name: number % NETWORKS for number in range(count)}
            with ServerProcess(folder.path, ServerOptions(port=0)) as server:
                with Changer(server.port) as changer:
                    changed(changer, RELOAD, next(iter(seeds)))
                pid = server.process.pid
                yield server, Asking(server.port, pid, self.size, seeds, self.plan.connections)

    def _measure(self, server: ServerProcess, asking: Asking) -> None:
        plan, versions = self.plan, list(asking.seeds)
        turning, once, storming = versions[:TURNING], versions[TURNING:], versions[TURNING + 2 * plan.rollbacks :]
        live = turning[0]
        disk = Disk(server.run_dir.parent / "disk")
        built = in_turn(turning, plan.swaps // TURNING * TURNING)  # whole turns, so that the first is live again
        warm = in_turn(turning[:2], plan.swaps // 2 * 2)
        # Asked as fast as it answers, and as games ask. A control before and after what it is compared with.
        for rate_hz, mark in ((None, ""), (plan.rate_hz, PACED)):
            paced = replace(asking, rate_hz=rate_hz)
            gone, once = there_and_back(once[: plan.rollbacks]), once[plan.rollbacks :]
            self._add(control(f"control before{mark}", paced, live, plan.seconds, disk))
            self._add(changing(f"swaps, built{mark}", paced, live, built, plan.seconds))
            self._add(changing(f"swaps, warm{mark}", paced, live, warm, plan.seconds))
            self._add(changing(f"rollbacks{mark}", paced, live, gone, plan.seconds))
            self._add(control(f"control after{mark}", paced, live, plan.seconds, disk))
        self.disk = Times.of(disk.took_ms)
        with asking.under_load() as asked:
            self.storm = storm(server, storming, plan.storm_orders)
        assert asked.log is not None
        stale = judging.stale_gone(asked.log, self.storm.gone_s)
        self._add(Phase.of("storm", asked.log, self.storm.changes, stale, in_turn=False))

    def _measure_memory(self, asking: Asking) -> None:
        """Fewer connections: the reloads are to be many, not slow."""
        few = replace(asking, connections=RSS_CONNECTIONS)
        process, turning = psutil.Process(asking.pid), list(asking.seeds)
        seen_mb = []
        with few.under_load() as asked, Changer(asking.port) as changer:
            changes = []
            for number, (kind, version) in enumerate(in_turn(turning, self.plan.reloads), start=1):
                changes.append(changed(changer, kind, version))
                if number in (self.plan.early_reloads, self.plan.reloads):
                    time.sleep(SETTLE_S)
                    seen_mb.append(process.memory_info().rss / 1e6)
        assert asked.log is not None
        stale = judging.stale_in_turn(asked.log, turning[0], changes)
        self._add(Phase.of("reloads", asked.log, changes, stale))
        self.rss_mb = (seen_mb[0], seen_mb[1])

    def _add(self, phase: Phase) -> None:
        self.phases[phase.name] = phase
        print_phase(phase)
