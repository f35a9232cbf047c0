"""Other people's servers, started as process groups of their own and stopped again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

START_S = 90.0
STOP_S = 10.0
LOOK_S = 0.2


class NotAnsweredError(Exception):
    """This side takes no part; says why in one line."""


@dataclass(frozen=True)
class Command:
    arguments: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def started(command: Command, asked: Callable[[], object]) -> Iterator[int]:
    """The program's process id, once `asked` no longer raises NotAnsweredError. Raises it itself."""
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
    try:
        _wait_until_answered(asked, process, log)
        yield process.pid
    finally:
        _stop(process)


def _wait_until_answered(asked: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + START_S
    while True:
        try:
            asked()
        except NotAnsweredError as error:
            if process.poll() is None and time.monotonic() < until_s:
                time.sleep(LOOK_S)
                continue
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            ended = f"ended with {process.poll()}" if process.poll() is not None else f"after {START_S:g} s {error}"
            raise NotAnsweredError(f"does not start: {ended}; last line: {(said or ['none'])[-1][:200]}") from error
        else:
            return


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
