"""A server under measurement: its port and its processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tests.benchmarks.serving import subject
from tests.benchmarks.serving.form import Form

START_S = 90.0
STOP_S = 10.0


class NotAnsweredError(Exception):
    """This side takes no part; says why in one line."""


@dataclass(frozen=True)
class Running:
    port: int
    pid: int

    def pids(self) -> list[int]:
        """The server's process and all below it."""
        parent = psutil.Process(self.pid)
        return [self.pid, *(child.pid for child in parent.children(recursive=True))]

    def rss_mb(self) -> float:
        """Of all processes together; pages that they share count for each."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += psutil.Process(pid).memory_info().rss
        return total / 1e6

    def check(self, form: Form, target: str, rows: int) -> None:
        """One request. Raises NotAnsweredError unless the answer is what session.run says."""
        states = subject.states(rows)
        headers, body = form.encode(states)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", form.at(target), body, headers)
            response = connection.getresponse()
            answer, names = response.read(), {name.lower(): value for name, value in response.getheaders()}
        except (OSError, http.client.HTTPException) as error:
            raise NotAnsweredError(f"not answered: {error!r}") from error
        finally:
            connection.close()
        if response.status != 200:
            text = " ".join(answer.decode(errors="replace").split())
            raise NotAnsweredError(f"not answered: {response.status} {text[:160]}")
        try:
            got = form.decode(names, answer)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise NotAnsweredError(f"answered, but not in this form ({error!r}): {answer[:120]!r}") from error
        expected = subject.answers(states)
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=0, atol=subject.TOLERANCE):
            raise NotAnsweredError(f"answered wrongly: {got.ravel()[:3]} where session.run says {expected.ravel()[:3]}")

    def wait_until_answered(self, form: Form, target: str, process: subprocess.Popen[bytes], log: Path) -> None:
        """Raises NotAnsweredError where the server ends, or takes too long."""
        until_s = time.monotonic() + START_S
        while True:
            try:
                return self.check(form, target, rows=1)
            except NotAnsweredError as error:
                if process.poll() is None and time.monotonic() < until_s:
                    time.sleep(0.2)
                    continue
                said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
                ended = f"ended with {process.poll()}" if process.poll() is not None else f"after {START_S:g} s {error}"
                raise NotAnsweredError(f"does not start: {ended}; last line: {(said or ['none'])[-1][:200]}") from error


@dataclass(frozen=True)
class Command:
    arguments: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def started(command: Command, port: int, form: Form, target: str) -> Iterator[Running]:
    """The program as a process group of its own, answering in that form. Raises NotAnsweredError."""
    log = command.folder / "server.log"
    environment = {**os.environ, **command.environment}
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                [str(argument) for argument in command.arguments],
                cwd=command.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise NotAnsweredError(f"does not start: {error.strerror}: {command.arguments[0]}") from error
    running = Running(port, process.pid)
    try:
        running.wait_until_answered(form, target, process, log)
        yield running
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):  # none of the group is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; they may be taken the next moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
