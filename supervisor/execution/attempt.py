"""One attempt at a trial as the local executor sees it: its process, its heartbeat, its rungs of the ladder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace

from supervisor.execution import linux
from supervisor.execution.ending import Remains, judge
from supervisor.execution.executor import HEARTBEAT_NAME, STOP_NAME, Exit, ExitKind, Launch
from supervisor.execution.gpu import Gpu
from supervisor.execution.gpu_meter import GpuMeter
from supervisor.execution.ladder import Act, Patience, Rungs, Sighting, climb
from supervisor.execution.server_link import Ended, wait_readable

MEMORY_LOOK_S = 1.0  # between two looks at memory: each reads the process table


class Attempt:
    """Waiting (no pid) -> running -> ended or lost."""

    def __init__(self, launch: Launch, patience: Patience, gpu: Gpu | None = None) -> None:
        self.launch = launch
        self._on_gpu = GpuMeter(gpu, launch.budget.vram_fraction)
        self.ordered_s: float | None = None  # when the fork server was told
        self.gone_s: float | None = None  # when it was first seen gone, before the fork server said so
        self.lost: str | None = None  # what became of its fork server
        self.server_mark: str | None = None
        self.pid: int | None = None
        self.family: list[linux.Process] = []  # what the trial had started, at the last look
        self.stop = False
        self.urgent = False
        self._folder = launch.folder.resolve()
        self._patience = patience
        self._rungs = Rungs()
        self._started_s = self._beat_s = 0.0
        self._beat = self._heartbeat()
        self._descriptor: int | None = None  # the process itself, whatever becomes of its pid
        self._base_mb = 0
        self._ram_mb = 0
        self._peak_mb = 0
        self._memory_seen_s = float("-inf")
        self._kernel_kills = linux.out_of_memory_kills()

    @property
    def folder(self) -> str:
        return str(self._folder)

    def started(self, pid: int, base_mb: int) -> None:
        """WAITING -> RUNNING. The clocks of wall time and heartbeat start here, not while the server imports."""
        self.pid = pid
        self._base_mb = base_mb
        self._started_s = self._beat_s = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # it ended and was buried already
            self._descriptor = os.pidfd_open(pid)

    def ask(self) -> None:
        with contextlib.suppress(OSError):  # the folder was removed, or the disk is full: the ladder goes on
            (self._folder / STOP_NAME).touch()

    def look(self) -> None:
        """See how the process does and climb the ladder if it is time."""
        now_s = time.monotonic()
        beat = self._heartbeat()
        if beat != self._beat:
            self._beat, self._beat_s = beat, now_s
        if now_s - self._memory_seen_s >= MEMORY_LOOK_S:
            since_s = now_s - max(self._memory_seen_s, self._started_s)
            self._memory_seen_s = now_s
            self._measure(since_s)
        sighting = Sighting(
            now_s=now_s,
            started_s=self._started_s,
            beat_s=self._beat_s,
            wall_s=self.launch.budget.wall_s,
            ram_mb=self._ram_mb,
            ram_limit_mb=self.launch.budget.ram_mb,
            vram_mb=self._on_gpu.held_mb,
            vram_limit_mb=self._on_gpu.limit_mb,
            gpu_s=self._on_gpu.held_s,
            gpu_limit_s=self.launch.budget.gpu_s,
            stop=self.stop,
            urgent=self.urgent,
        )
        self._rungs, act = climb(self._rungs, sighting, self._patience)
        if act is Act.ASK:
            self.ask()
        elif act is Act.TERMINATE:
            self.ask()  # a SIGTERM that comes before the trial listens is lost, the file is not
            self.signal(signal.SIGTERM)
        elif act is Act.KILL:
            self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """To the trial's process; the fork server ends what it leaves behind."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def gone(self, timeout_s: float = 0.0) -> bool:
        """True once the process runs no more, whether or not the fork server has told us."""
        return self.pid is not None and (self._descriptor is None or bool(wait_readable([self._descriptor], timeout_s)))

    def ended(self, event: Ended) -> Exit:
        """RUNNING -> ENDED, as the fork server tells it."""
        remains = Remains(
            exit_code=event.exit_code,
            signal=event.signal,
            cause=self._rungs.cause,
            reason=self._rungs.reason,
            kernel_kills=linux.out_of_memory_kills() - self._kernel_kills,
            tail=event.tail,
        )
        self._peak_mb = max(self._peak_mb, event.peak_ram_mb)
        kind, words = judge(remains)
        end = self.exit(kind, f"{words}\n{event.tail}".strip())
        return replace(end, exit_code=event.exit_code, signal=event.signal)

    def exit(self, kind: ExitKind, detail: str) -> Exit:
        """An end nobody gave a code for; the process must be gone or never have been."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        duration_s = 0.0 if self.pid is None else time.monotonic() - self._started_s
        return Exit(kind, None, None, detail, duration_s, self._peak_mb, self._on_gpu.held_s, self._on_gpu.peak_mb)

    def _heartbeat(self) -> int | None:
        """When the heartbeat was touched, by the file system's clock: compared with itself only."""
        try:
            return (self._folder / HEARTBEAT_NAME).stat().st_mtime_ns
        except OSError:
            return None

    def _measure(self, since_s: float) -> None:
        """Memory of the trial and everything below it, without what it shares with the fork server."""
        if self.pid is None:
            return
        table = linux.processes()
        self.family = [table[pid] for pid in linux.descendants(self.pid, table)]
        pids = {self.pid, *(process.pid for process in self.family)}
        used_mb = max(0, linux.occupied_mb(pids) - self._base_mb)
        if used_mb > self.launch.budget.ram_mb and self.pid in table:
            used_mb = min(used_mb, linux.beyond_fork_server_mb(pids, table[self.pid].parent))
        self._peak_mb = max(self._peak_mb, used_mb + self._base_mb)
        self._ram_mb = used_mb
        self._on_gpu.look(pids, since_s)
