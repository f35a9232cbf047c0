"""Work in forked processes of this one: it has imported everything, so each costs milliseconds."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cell import PromiseBrokenError

FAULTS_NAME, FAILURE_NAME, OUTPUT_NAME = "faults", "failure", "output"


@dataclass
class Child:
    """A forked process at work on one task, in a session of its own so that all it started can be killed with it."""

    task: str
    folder: Path
    pid: int
    descriptor: int
    started_s: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started_s

    def bury(self) -> tuple[int, str]:
        """(faults dealt, failure) of a process that has ended."""
        os.close(self.descriptor)
        _, status = os.waitpid(self.pid, 0)
        faults, failure = self.folder / FAULTS_NAME, self.folder / FAILURE_NAME
        if failure.exists():
            return 0, failure.read_text()
        if status != 0 or not faults.exists():
            return 0, f"ended with wait status {status}: {(self.folder / OUTPUT_NAME).read_text()[-2000:]}"
        return int(faults.read_text()), ""

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def fork(task: str, folder: Path, work: Callable[[], int]) -> Child:
    """Run `work` in a child; its answer, or its traceback, goes into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _redirect_to(folder / OUTPUT_NAME)
            (folder / FAULTS_NAME).write_text(str(work()))
        except BaseException:
            (folder / FAILURE_NAME).write_text(traceback.format_exc())
        finally:
            os._exit(0)
    return Child(task, folder, pid, os.pidfd_open(pid), time.monotonic())


def run_all(tasks: Iterable[str], begin: Callable[[str], Child], jobs: int, limit_s: float) -> Iterator[Child]:
    """Children as they end, `jobs` of them at a time; one that exceeds the limit is killed with all it started."""
    waiting = list(reversed(list(tasks)))
    running: list[Child] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(begin(waiting.pop()))
        ready, _, _ = select.select([child.descriptor for child in running], [], [], 1.0)
        for child in list(running):
            if child.seconds > limit_s and child.descriptor not in ready:
                child.kill()
                (child.folder / FAILURE_NAME).write_text(f"still running after {limit_s:.0f} s, killed")
            elif child.descriptor in ready:
                running.remove(child)
                yield child


def dies(work: Callable[[], None]) -> bool:
    """Run `work` in a forked child; whether SIGKILL ended it.

    Raises PromiseBrokenError where it ended by an exception.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if status != 0 and not killed:
        raise PromiseBrokenError(f"a start ended with wait status {status}; its traceback is in the point's output")
    return killed


def _redirect_to(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
