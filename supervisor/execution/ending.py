"""What a trial's end means, from its exit code or signal and what was known about it. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from supervisor.execution.executor import (
    EXIT_DISK_FULL,
    EXIT_DONE,
    EXIT_OUT_OF_MEMORY,
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_STORE_SILENT,
    ExitKind,
)
from supervisor.execution.ladder import Cause

EXIT_FENCED = 12  # another process still works in the folder: nothing was touched

MEMORY_SIGNS = (
    "MemoryError",
    "std::bad_alloc",
    "can't allocate memory",  # torch's allocator on the CPU
    "Cannot allocate memory",
    "OutOfMemoryError",  # torch's allocator on a GPU
    "CUDA out of memory",
    "Failed to allocate memory for requested buffer",  # onnxruntime's arena
)
LAST_LINES = 5  # where the sign must stand: an error that was survived earlier is not the end's cause


@dataclass(frozen=True)
class Remains:
    """What is left of a trial process."""

    exit_code: int | None
    signal: int | None
    cause: Cause | None  # why the supervisor wanted it gone, if it did
    reason: str  # the cause in words
    kernel_kills: int  # processes the kernel killed for want of memory while this one ran
    tail: str  # the end of what it printed


def judge(remains: Remains) -> tuple[ExitKind, str]:
    """The kind of the end and the words for it."""
    kind, words = _judge(remains)
    return kind, words if remains.cause is None or not remains.reason else f"{words}; {remains.reason}"


def _judge(remains: Remains) -> tuple[ExitKind, str]:
    code, cause = remains.exit_code, remains.cause
    if code == EXIT_DONE:
        return ExitKind.DONE, "done"
    if code == EXIT_FENCED:
        return ExitKind.LOST, "another process still works in the trial folder"
    if cause is Cause.OUT_OF_MEMORY or code == EXIT_OUT_OF_MEMORY:
        return ExitKind.OUT_OF_MEMORY, "out of memory"
    if cause is Cause.WALL_TIME:
        return ExitKind.WALL_TIME, "its time is up"
    if cause is Cause.GPU_TIME:
        return ExitKind.GPU_TIME, "its time on the GPU is up"
    if code == EXIT_STOPPED:
        return ExitKind.STOPPED, "stopped"
    if code == EXIT_DISK_FULL:
        return ExitKind.DISK_FULL, "no room on the disk"
    if code == EXIT_REFUSED:
        return ExitKind.REFUSED, "the machine had no process left for it"
    if code == EXIT_STORE_SILENT:
        return ExitKind.STORE_SILENT, "the experience store does not answer"
    if cause is Cause.HUNG:
        return ExitKind.HUNG, "hung"
    if cause is Cause.STOP and remains.signal in (signal.SIGTERM, signal.SIGKILL):
        return ExitKind.STOPPED, f"stopped by {_name(remains.signal)}"
    if _kernel_killed(remains) or _says_memory(remains.tail):
        return ExitKind.OUT_OF_MEMORY, "out of memory"
    if remains.signal is not None:
        return ExitKind.CRASHED, f"ended by {_name(remains.signal)}"
    return ExitKind.CRASHED, f"left with exit code {code}"


def _kernel_killed(remains: Remains) -> bool:
    return remains.signal == signal.SIGKILL and remains.kernel_kills > 0


def _says_memory(tail: str) -> bool:
    # An indented line of a traceback quotes the program's code, which may well speak of memory.
    last = [line for line in tail.strip().splitlines()[-LAST_LINES:] if not line.startswith(" ")]
    return any(sign in line for line in last for sign in MEMORY_SIGNS)


def _name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
