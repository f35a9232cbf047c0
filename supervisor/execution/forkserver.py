"""The process that has imported everything once and forks a trial in milliseconds.

Started by `server_link` with two descriptors: a socket of messages (one JSON object each) and the lifeline, a pipe
whose other end only the supervisor holds. It runs one thread and no event but these: an order, a trial's output, a
trial's end, the supervisor's end.

In:  {"preload": [module, ...]} once, then per trial the fields of `child.Order`.
Out: ready | preload_failed | started | refused | ended, see `server_link`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from supervisor.execution import child, linux
from supervisor.execution.executor import STDERR_NAME
from supervisor.execution.leftovers import kill
from supervisor.execution.output import CappedLog

MESSAGE_BYTES = 64 * 1024
DETAIL_CHARACTERS = 4000
CHUNK_BYTES = 64 * 1024
PIPE_FULL_BYTES = 1024 * 1024
NO_GPUS = {child.VISIBLE_NAME: "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # while modules are imported


class Trial:
    """A running trial and what it prints."""

    def __init__(self, handle: str, output: int, log: CappedLog) -> None:
        self.handle = handle
        self.output = output
        self.log = log
        self.buried = False  # its output is closed: an event of the same look that comes after that means nothing

    def forget(self) -> None:
        """In a fresh fork: this copy of the server's descriptors is not the fork's business."""
        os.close(self.output)
        self.log.forget()

    def drain(self) -> bool:
        """Take what was printed; False once every writer is gone."""
        try:
            data = os.read(self.output, CHUNK_BYTES)
        except BlockingIOError:
            return True
        self.log.feed(data)
        return bool(data)


class ForkServer:
    """Forks on order, keeps the output, buries the dead with all they left behind."""

    def __init__(self, control: socket.socket, lifeline: int) -> None:
        self._pid = os.getpid()
        self._control = control
        self._lifeline = lifeline
        self._trials: dict[int, Trial] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup_read, self._wakeup_write = os.pipe()
        for descriptor in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(descriptor, False)

    def serve(self) -> None:
        """Until the supervisor is gone or closes the socket; then no trial is left."""
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)  # a handler, so that the wake-up is written
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wakeup_read, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    message = self._control.recv(MESSAGE_BYTES)
                    if not message:
                        self._end_all()
                        return
                    self._start(child.Order(**json.loads(message)))
                elif key.fileobj == self._wakeup_read:
                    os.read(self._wakeup_read, CHUNK_BYTES)
                    self._bury()
                elif isinstance(key.data, Trial) and not key.data.buried and not key.data.drain():
                    self._selector.unregister(key.data.output)

    def _start(self, order: child.Order) -> None:
        pipe: list[int] = []
        try:
            pipe += os.pipe()
            trial = Trial(order.handle, pipe[0], CappedLog(Path(order.folder) / STDERR_NAME))
            pid = os.fork()
        except OSError as error:
            for descriptor in pipe:
                os.close(descriptor)
            passing = error.errno in linux.SHORT
            self._send({"event": "refused", "handle": order.handle, "error": str(error), "passing": passing})
            return
        reading, writing = pipe
        if pid == 0:
            try:
                self._become(trial, order, writing)
            finally:
                os._exit(child.EXIT_CRASHED)  # whatever went wrong, there is one server
        os.close(writing)
        os.set_blocking(reading, False)
        self._trials[pid] = trial
        self._selector.register(reading, selectors.EVENT_READ, trial)
        self._send({"event": "started", "handle": order.handle, "pid": pid})

    def _become(self, trial: Trial, order: child.Order, writing: int) -> NoReturn:
        self._selector.close()
        self._control.close()
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)
        for other in (trial, *self._trials.values()):
            other.forget()
        child.run(order, self._pid, writing, self._lifeline)

    def _bury(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            trial = self._trials.pop(pid, None)
            if trial is None:
                continue  # a program some trial had left behind
            self._end_orphans()
            self._finish(trial)
            code = os.waitstatus_to_exitcode(status)
            self._send(
                {
                    "event": "ended",
                    "handle": trial.handle,
                    "exit_code": code if code >= 0 else None,
                    "signal": -code if code < 0 else None,
                    "peak_ram_mb": usage.ru_maxrss // 1024,
                    "tail": trial.log.tail(DETAIL_CHARACTERS),
                }
            )

    def _finish(self, trial: Trial) -> None:
        """Take the last that was printed and close. Every writer is dead: a pipe holds at most PIPE_FULL_BYTES more."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(trial.output)
        for _ in range(PIPE_FULL_BYTES // CHUNK_BYTES + 1):
            if not trial.drain():
                break
        os.close(trial.output)
        trial.log.close()
        trial.buried = True

    def _end_orphans(self) -> None:
        """Kill what dead trials left behind. Living trials adopt their own orphans, so ours are of dead ones."""
        while True:
            table = linux.processes()
            orphans = {pid for pid, row in table.items() if row.parent == self._pid and pid not in self._trials}
            if not orphans:
                return
            killed = kill(orphans | {below for orphan in orphans for below in linux.descendants(orphan, table)})
            for pid in orphans & killed:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _end_all(self) -> None:
        for pid in self._trials:
            os.kill(pid, signal.SIGKILL)
        for pid in self._trials:
            os.waitpid(pid, 0)
        ended, self._trials = self._trials, {}
        self._end_orphans()
        for trial in ended.values():
            self._finish(trial)

    def _send(self, message: Mapping[str, object]) -> None:
        # A supervisor that is gone shows at the next read of the socket.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(json.dumps(message).encode())


@contextlib.contextmanager
def _without_gpus() -> Iterator[None]:
    """CUDA that was started before a fork cannot be used after it, and looking whether there is a GPU starts it: an
    optimizer's step looks. What sees none, and may ask no more than NVIDIA's management library, starts nothing."""
    before = {name: os.environ.get(name) for name in NO_GPUS}
    os.environ.update(NO_GPUS)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def _preload(modules: list[str]) -> dict[str, object]:
    with _without_gpus():
        return _imported(modules)


def _imported(modules: list[str]) -> dict[str, object]:
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:
            shown = "".join(traceback.format_exception(error))[-DETAIL_CHARACTERS:]
            return {"event": "preload_failed", "module": module, "error": shown}
    return {"event": "ready", "base_mb": linux.occupied_mb([os.getpid()])}


def main(control_descriptor: int, lifeline: int) -> int:
    """The server's life; its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor alone ends it, by closing the socket
    linux.name_process("trial-forks")
    linux.adopt_orphans()
    control = socket.socket(fileno=control_descriptor)
    greeting = control.recv(MESSAGE_BYTES)
    if not greeting:
        return 0
    # An import takes seconds in which the socket is not read; no trial lives yet, so the kernel may end us meanwhile.
    linux.die_with_parent(signal.SIGKILL)
    if select.select([lifeline], [], [], 0)[0]:
        return 0  # the supervisor ended before the kernel was asked, which tells nothing about the past
    answer = _preload(json.loads(greeting)["preload"])
    linux.die_with_parent(0)
    # Objects of the imports are never garbage: unlooked at by the collector, their pages stay shared with the trials.
    gc.collect()
    gc.freeze()
    sys.stdout.flush()  # or every trial would print it again
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.send(json.dumps(answer).encode())
    if answer["event"] != "ready":
        return 1
    ForkServer(control, lifeline).serve()
    os._exit(0)  # an interpreter full of imports needs half a second to take itself apart
