"""What other programs use of this machine, what the servers of the run folder use, and what is left for trials."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisor.execution import linux
from supervisor.execution.gpu import Gpu, Use
from supervisor.execution.linux import Process
from supervisor.execution.room import GpuRoom, Room
from supervisor.execution.serving_processes import serving_pids

MIB = 2**20
MEMORY_LOOK_S = 5.0  # no more often: the kernel walks all pages of our trials for it, 35 ms a gigabyte


@dataclass(frozen=True)
class Share:
    """What some programs use. CPU in percent of all CPUs together, the GPU's memory as a fraction; None without GPU, or
    where its driver does not tell whose is what. Of several GPUs it is the one where they use most."""

    cpu_percent: float = 0.0
    ram_gb: float = 0.0
    vram_fraction: float | None = None


@dataclass(frozen=True)
class Sample:
    """Use by other programs: neither by us nor by servers of the run folder, which have a share of their own. Of
    several GPUs it is the one where they use least: trials can go there."""

    cpu_percent: float
    ram_gb: float
    vram_fraction: float | None
    free_disk_mb: float
    serving: Share = Share()


@dataclass(frozen=True)
class Seconds:
    """The clock, and how long CPUs were busy: all of them, for our own tree, for each server's."""

    clock_s: float
    busy_s: float
    own_s: float
    serving_s: Mapping[int, float]


@dataclass(frozen=True)
class Parties:
    """Pids of those who are not other programs."""

    own: set[int]
    serving: Mapping[int, set[int]]  # each server with its children

    @classmethod
    def of(cls, run_dir: Path, table: Mapping[int, Process]) -> Parties:
        own = _family(os.getpid(), table)
        roots = serving_pids(run_dir, table) - own
        return cls(own, {root: _family(root, table) for root in sorted(roots)})

    @property
    def servers(self) -> set[int]:
        return set().union(*self.serving.values())


class Gauge:
    """Takes samples. CPU use is that since the sample before, or since it was made."""

    def __init__(self, run_dir: Path, gpus: Sequence[Gpu]) -> None:
        self._run_dir = run_dir
        self._gpus = gpus
        table = linux.processes()
        self._before = seconds(Parties.of(run_dir, table), table)
        self._memory = (0.0, 0.0)  # GB: other programs', the servers'
        self._weighed_s = float("-inf")

    def sample(self) -> Sample:
        table = linux.processes()
        parties = Parties.of(self._run_dir, table)
        before, now = self._before, seconds(parties, table)
        self._before = now
        others, served = cpu_percents(before, now, os.cpu_count() or 1)
        if now.clock_s - self._weighed_s >= MEMORY_LOOK_S:
            self._weighed_s, self._memory = now.clock_s, _memory(parties)
        uses = [use for gpu in self._gpus if (use := gpu.use()) is not None]
        foreign = [use.others_fraction(parties.own | parties.servers) for use in uses]
        held = [_held_fraction(use, parties.servers) for use in uses]
        return Sample(
            cpu_percent=others,
            ram_gb=self._memory[0],
            vram_fraction=None if None in foreign else min(_known(foreign), default=None),
            free_disk_mb=shutil.disk_usage(self._run_dir).free / MIB,
            serving=Share(served, self._memory[1], max(_known(held), default=None)),
        )

    def room(self) -> Room:
        """What is free and what our trials hold: the children of our children, of which one forks them all. What a
        server holds is as little there as what any other program does."""
        table = linux.processes()
        own = _family(os.getpid(), table)
        trials = {pid for pid in own if pid != os.getpid() and table[pid].parent != os.getpid()}
        uses = [(gpu.card, use) for gpu in self._gpus if (use := gpu.use()) is not None]
        return Room(
            ram_mb=psutil.virtual_memory().available / MIB + linux.proportional_mb(trials),
            gpus=tuple(GpuRoom(card, use.total_mb - use.used_mb, use.others_fraction(own)) for card, use in uses),
        )


def seconds(parties: Parties, table: Mapping[int, Process]) -> Seconds:
    """What finished children of ours used is in our own times too."""
    total = psutil.cpu_times()
    busy_s = sum(total) - total.idle - getattr(total, "iowait", 0.0) - getattr(total, "guest", 0.0)
    serving_s = {root: _cpu_s(pids, table) for root, pids in parties.serving.items()}
    return Seconds(time.monotonic(), busy_s, _cpu_s(parties.own, table), serving_s)


def cpu_percents(before: Seconds, now: Seconds, cpus: int) -> tuple[float, float]:
    """Of all CPUs together, between the two: other programs', the servers'. Pure.

    A server that was not there before has used all its seconds since. One that has gone is not known to have used any.
    """
    capacity_s = (now.clock_s - before.clock_s) * cpus
    if capacity_s <= 0:
        return 0.0, 0.0
    own_s = max(0.0, now.own_s - before.own_s)
    gains_s = [spent_s - before.serving_s.get(root, 0.0) for root, spent_s in now.serving_s.items()]
    serving_s = min(capacity_s, sum(max(0.0, gain_s) for gain_s in gains_s))
    others_s = max(0.0, now.busy_s - before.busy_s - own_s - serving_s)
    return 100 * others_s / capacity_s, 100 * serving_s / capacity_s


def _memory(parties: Parties) -> tuple[float, float]:
    """GB that other programs hold, and the servers. Trials share most of their pages with the fork server."""
    memory = psutil.virtual_memory()
    own_mb, serving_mb = linux.proportional_mb(parties.own), linux.proportional_mb(parties.servers)
    foreign_bytes = memory.total - memory.available - (own_mb + serving_mb) * MIB
    return max(0.0, foreign_bytes) / 2**30, serving_mb / 1024


def _held_fraction(use: Use, pids: Iterable[int]) -> float | None:
    held_mb = use.held_by(pids)
    return None if held_mb is None else held_mb / use.total_mb


def _known(fractions: Iterable[float | None]) -> list[float]:
    return [fraction for fraction in fractions if fraction is not None]


def _family(root: int, table: Mapping[int, Process]) -> set[int]:
    return {root, *linux.descendants(root, table)}


def _cpu_s(pids: Iterable[int], table: Mapping[int, Process]) -> float:
    return sum(table[pid].cpu_s for pid in pids if pid in table)
