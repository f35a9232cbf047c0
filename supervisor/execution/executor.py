"""How the supervisor runs trials without knowing where: one protocol, its launch and its exit.

A trial is a process that gets a folder and leaves a file there; its exit code says how it left. Nothing else passes
between the two: no queue, no pickle, no shared memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from supervisor.contract import Budget
from supervisor.execution.device import Device

# Exit codes of a trial process. Any other code, and any signal, is a crash.
EXIT_DONE = 0
EXIT_STOPPED = 10  # asked to stop, everything saved, to be continued
EXIT_OUT_OF_MEMORY = 11
EXIT_DISK_FULL = 13  # no room for what it had to save, to be continued once there is
EXIT_REFUSED = 14  # the machine had no process or thread left for it, to be continued once there is one
EXIT_STORE_SILENT = 15  # the experience store does not answer, to be continued once it does

STOP_NAME = "stop"  # created in the trial folder: the wish that the trial save and leave
HEARTBEAT_NAME = "heartbeat"  # touched by the trial while it lives
STDERR_NAME = "stderr.log"  # standard output and error of the latest attempt, its middle left out when it is long


class ExitKind(StrEnum):
    """How an attempt ended."""

    DONE = "done"  # the trial wrote its result
    STOPPED = "stopped"  # it left because it was asked to, or was killed after it was asked: to be continued
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    WALL_TIME = "wall_time"
    GPU_TIME = "gpu_time"
    DISK_FULL = "disk_full"  # it found no room for what it had to save: to be continued
    REFUSED = "refused"  # the machine had no process, thread or memory to start it with: to be continued
    STORE_SILENT = "store_silent"  # the experience store did not answer: to be continued
    HUNG = "hung"  # it gave no heartbeat
    LOST = "lost"  # its executor lost sight of it; the process is gone for certain, how it ended is not known


@dataclass(frozen=True)
class Launch:
    """One attempt at a stage of a trial. `budget` is what this attempt may use, `device` what it is shown."""

    folder: Path
    iteration: int
    budget: Budget
    stage: str  # build | duel: for people; the worker sees in the folder what is due
    device: Device = Device()


@dataclass(frozen=True)
class Exit:
    """How an attempt ended and what it cost. Sizes in MB of 2**20 bytes; the process's own duration, monotonic.

    `gpu_s` are seconds of the wall clock in which a process of it held memory of the GPU, busy or not.
    """

    kind: ExitKind
    exit_code: int | None  # None when a signal ended it, or when it is not known
    signal: int | None
    detail: str  # for people: why it was killed, then the tail of what it printed
    duration_s: float
    peak_ram_mb: int
    gpu_s: float = 0.0
    peak_vram_mb: int = 0


class Executor(Protocol):
    """Runs trials, each in its own process, and says how they ended.

    Used from one thread. A handle lives from `submit` until `poll` has returned its Exit. When an Exit is returned no
    process of that attempt is left, so the folder may be used, retried or removed.
    """

    def submit(self, launch: Launch) -> str:
        """Start the attempt and return its handle at once. An old wish to stop in the folder is withdrawn.

        Raises IncumbentError when trials cannot run here at all, RuntimeError beyond the capacity.
        """

    def list(self) -> Sequence[str]:
        """Handles not yet collected, oldest first."""

    def poll(self, handle: str) -> Exit | None:
        """None while the attempt runs; its Exit once, after which the handle is unknown (KeyError)."""

    def stop(self, handle: str, urgent: bool = False) -> None:
        """Ask the trial to save and leave; the ladder from asking to killing follows while `wait` is called.

        `urgent` starts at SIGTERM and waits less. Asking twice changes nothing; urgency may be added later.
        """

    def capacity(self) -> int:
        """How many further attempts may be submitted now."""

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> None:
        """Return when an attempt has ended that was not collected, when a descriptor of `also` is readable (it is
        not read: a loop hands in its signal wake-up here), or after the timeout. Call it often: it drives the ladder.
        """

    def close(self) -> None:
        """Kill whatever runs and free everything. Nothing else may be called afterwards."""
