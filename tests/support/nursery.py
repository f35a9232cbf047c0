"""Forks of a process that has imported what programs of ours need: they begin at once, where Python and the imports
take a second of a processor each time, hundreds of times in the suite.

`python -m tests.support.nursery FD` waits at the socket for what is to be run. `tests.support.forked` asks it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PRELOADED = (
    "supervisor.cli",
    "supervisor.commands.run",
    "supervisor.commands.serve",
    "supervisor.loop",
    "supervisor.serving.server",
    "supervisor.experience.postgres.store",
    "supervisor.experience.sqlite.store",
)
MOST_BYTES = 1 << 17


def main(number: int) -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    with socket.socket(fileno=number) as link:
        child = _wait_for_a_child(link)
    if child is not None:
        _become(*child)


def _wait_for_a_child(link: socket.socket) -> tuple[Mapping[str, Any], Sequence[int]] | None:
    """In each child what it is to do, and its streams; None in this process, once nobody asks any more."""
    born: dict[int, int] = {}  # by process id, where the end is told
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([link, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, MOST_BYTES)
            _tell_of_ends(born)
        if link in ready:
            asked, descriptors, _, _ = socket.recv_fds(link, MOST_BYTES, 4)
            if not asked:
                return None
            *streams, told = descriptors
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for number in (woken, wake, told, *born.values()):
                    os.close(number)
                return json.loads(asked), streams
            for number in streams:
                os.close(number)
            os.write(told, f"{pid}\n".encode())
            born[pid] = told


def _tell_of_ends(born: dict[int, int]) -> None:
    while born:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = born.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(told)


def _become(asked: Mapping[str, Any], streams: Sequence[int]) -> None:
    """What Python does where it is started with these arguments."""
    if asked["start_new_session"]:
        os.setsid()
    for place, number in enumerate(streams):
        os.dup2(number, place)
        os.close(number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    np.random.seed()
    warnings.resetwarnings()
    warnings.simplefilter("error") if asked["warnings_are_errors"] else warnings.simplefilter("default")
    if asked["module"] is not None:
        sys.argv = ["-m", *asked["arguments"]]
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
        return
    sys.argv = ["-c", *asked["arguments"]]
    own = types.ModuleType("__main__")
    sys.modules["__main__"] = own
    exec(compile(asked["code"], "<string>", "exec"), own.__dict__)


if __name__ == "__main__":
    main(int(sys.argv[1]))
