"""The processes of a run, told apart by who started whom; whoever asks must have adopted their orphans."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.support.remains import Row, below

FORK_SERVER = b"supervisor.execution.forkserver"  # in its command line and in those of its forks


def fork_servers() -> list[Row]:
    """Below this process, whether their supervisor lives or not."""
    forks = _of_fork_servers()
    pids = {row.pid for row in forks}
    return [row for row in forks if row.parent not in pids]


def trials() -> list[Row]:
    forks = _of_fork_servers()
    pids = {row.pid for row in forks}
    return [row for row in forks if row.parent in pids]


def _of_fork_servers() -> list[Row]:
    return [row for row in below(os.getpid()) if row.state != "Z" and FORK_SERVER in _command_line(row.pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def send(rows: Sequence[Row], number: signal.Signals = signal.SIGKILL) -> int:
    """How many were still there to take it."""
    taken = 0
    for row in rows:
        try:
            os.kill(row.pid, number)
        except ProcessLookupError:
            continue
        taken += 1
    return taken


def kill_everything() -> int:
    """SIGKILL to all below this process, until none is left that could start another."""
    killed: set[int] = set()
    while rows := [row for row in below(os.getpid()) if row.state != "Z"]:
        send(rows)
        killed |= {row.pid for row in rows}
    return len(killed)
