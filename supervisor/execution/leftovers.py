"""Programs that an earlier attempt left running, because whoever should have ended them was killed first."""

from __future__ import annotations

import os
import signal
import time

from supervisor.errors import TryAgainError
from supervisor.execution import linux
from supervisor.execution.child import ENVIRONMENT_NAME
from supervisor.execution.server_link import wait_readable

PATIENCE_S = 10.0


def end_leftovers(folder: str, server_mark: str | None = None) -> None:
    """Kill the programs marked with this trial folder and all forks of a lost server; return when they are gone.

    A program started by a trial has the folder in its environment, a mere fork has the server's own command line.
    Raises TryAgainError when one cannot be killed (it hangs in the kernel): the folder must not be used then.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        table = linux.processes()
        found = linux.with_environment(f"{ENVIRONMENT_NAME}={folder}", table)
        if server_mark is not None:
            found |= linux.with_argument(server_mark, table)
        if not found:
            return
        if time.monotonic() > deadline_s:
            raise TryAgainError(f"{folder}: processes {sorted(found)} of an earlier attempt cannot be killed")
        for pid in found:
            _end(pid, deadline_s)


def _end(pid: int, deadline_s: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        wait_readable([descriptor], deadline_s - time.monotonic())
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
