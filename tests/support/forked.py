"""A Python program as a fork of the nursery: what `subprocess.Popen` would give, without a second of imports."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.support.processes import ROOT

START_S = 60.0


@functools.cache
def _nursery(_pid: int) -> socket.socket:
    """One for each process that asks: a fork of it has one of its own."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def leave() -> None:
        ours.close()
        process.wait()

    atexit.register(leave)
    return ours


class Forked:
    """Of `subprocess.Popen`'s methods those that the tests use; standard input is empty."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        module: str | None = None,
        code: str = "",
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
        cwd: Path = ROOT,
        environ: Mapping[str, str] = os.environ,
        start_new_session: bool = False,
        warnings_are_errors: bool = False,
    ) -> None:
        """`python -m module arguments`, or `python -c code arguments`."""
        self.args = [sys.executable, *(["-m", module] if module else ["-c", code]), *arguments]
        self.returncode: int | None = None
        asked = {
            "arguments": list(arguments),
            "module": module,
            "code": code,
            "cwd": str(cwd),
            "environ": dict(environ),
            "start_new_session": start_new_session,
            "warnings_are_errors": warnings_are_errors,
        }
        self._told, tell = os.pipe()
        self._heard = b""
        with contextlib.ExitStack() as ours:
            ours.callback(os.close, tell)
            empty = ours.enter_context(open(os.devnull, "rb")).fileno()
            self.stdout, out = _end(stdout, ours)
            self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _end(stderr, ours)
            socket.send_fds(_nursery(os.getpid()), [json.dumps(asked).encode()], [empty, out, err, tell])
        self.pid = int(self._line(START_S))

    def poll(self) -> int | None:
        return self._end(0.0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said until its end."""
        assert self.stdout is not None
        assert self.stderr is not None
        said: dict[int, bytes] = {self.stdout.fileno(): b"", self.stderr.fileno(): b""}
        left = set(said)
        until_s = None if timeout is None else time.monotonic() + timeout
        while left:
            wait_s = None if until_s is None else until_s - time.monotonic()
            ready, _, _ = select.select(list(left), [], [], wait_s)
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            for number in ready:
                data = os.read(number, 65536)
                said[number] += data
                if not data:
                    left.remove(number)
        out, err = said[self.stdout.fileno()].decode(), said[self.stderr.fileno()].decode()
        self.stdout.close()
        self.stderr.close()
        self.wait(timeout)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self, timeout: float | None) -> int | None:
        if self.returncode is None and (line := self._line(timeout)):
            self.returncode = int(line)
            os.close(self._told)
        return self.returncode

    def _line(self, timeout: float | None) -> str:
        """What the nursery tells next; nothing where it takes longer."""
        if b"\n" not in self._heard and select.select([self._told], [], [], timeout)[0]:
            self._heard += os.read(self._told, 32)  # a line at a time, which is far below what a pipe writes at once
        line, end, rest = self._heard.partition(b"\n")
        self._heard = rest if end else self._heard
        return line.decode() if end else ""


def _end(given: int | IO[bytes], closed: contextlib.ExitStack) -> tuple[IO[str] | None, int]:
    """Ours of a stream, where it is a pipe, and the program's, which is `closed` here once it has it."""
    if given == subprocess.PIPE:
        ours, theirs = os.pipe()
        closed.callback(os.close, theirs)
        return os.fdopen(ours, encoding="utf-8"), theirs
    if given == subprocess.DEVNULL:
        return None, closed.enter_context(open(os.devnull, "wb")).fileno()
    return None, given if isinstance(given, int) else given.fileno()
