"""Programs that an earlier attempt left running, because whoever should have ended them was killed first."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable

from supervisor.errors import TryAgainError
from supervisor.execution import linux
from supervisor.execution.child import ENVIRONMENT_NAME, PROCESS_NAME
from supervisor.execution.server_link import wait_readable

PATIENCE_S = 10.0
CARETAKER_S = 2.0  # it may have been started a moment ago


def end_leftovers(folder: str, server_mark: str | None = None, family: Iterable[linux.Process] = ()) -> None:
    """Kill what trials of this folder left and all forks of a lost server; return when they are gone.

    A program started by a trial has the folder in its environment; a mere fork has the trial's name and its lock on the
    folder, or the server's own command line; one that has nothing of these is known if it was seen while the trial
    lived, `family`.
    Raises TryAgainError when one cannot be killed (it hangs in the kernel): the folder must not be used then.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        table = linux.processes()
        found = linux.with_environment(f"{ENVIRONMENT_NAME}={folder}", table)
        found |= linux.holding(folder, PROCESS_NAME, table)
        if server_mark is not None:
            found |= linux.with_argument(server_mark, table)
        found |= {seen.pid for seen in family if seen.pid in table and table[seen.pid].began == seen.began}
        if not found:
            return
        if time.monotonic() > deadline_s:
            raise TryAgainError(f"{folder}: processes {sorted(found)} of an earlier attempt cannot be killed")
        _wait_for_ends(kill(found), deadline_s)


def kill(pids: set[int]) -> set[int]:
    """SIGKILL; those that got it. Caretakers, and who may become one, are spared until they are alone and had time for
    what they are there for: call it again until nobody is left."""
    others = pids - linux.caretakers(pids) - linux.nameless(pids)
    if not others:
        _wait_for_ends(pids, time.monotonic() + CARETAKER_S)
    for pid in others or pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return others or pids


def _wait_for_ends(pids: set[int], deadline_s: float) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            wait_readable([descriptor], deadline_s - time.monotonic())
        finally:
            os.close(descriptor)
