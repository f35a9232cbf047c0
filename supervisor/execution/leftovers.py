"""Programs that an earlier attempt left running, because whoever should have ended them was killed first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection

from supervisor.errors import TryAgainError
from supervisor.execution import linux
from supervisor.execution.child import ENVIRONMENT_NAME
from supervisor.execution.server_link import wait_readable

PATIENCE_S = 10.0


def end_leftovers(folder: str, sessions: Collection[int] = ()) -> None:
    """Kill the programs marked with this trial folder and the members of these sessions; return when they are gone.

    Raises TryAgainError when one cannot be killed (it hangs in the kernel): the folder must not be used then.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        table = linux.processes()
        found = linux.with_environment(f"{ENVIRONMENT_NAME}={folder}", table)
        found |= {pid for pid, row in table.items() if row.session in sessions}
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
