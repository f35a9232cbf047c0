"""Killing a process at each of its durable steps, one after the other: `kill -9` as the tests' own hand deals it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from supervisor.journal import durable


def killed_at_each_step(
    work: Callable[[], None], prepare: Callable[[], None], first: int = 0, stride: int = 1
) -> Iterator[int]:
    """Run `work` in a forked child that dies at its first durable step, then at its second, and so on.

    `prepare` runs before each; the number of the step is yielded after each death, until a run survives. A stride looks
    at fewer steps.
    """
    step = first
    while True:
        prepare()
        if not _dies_at(step, work):
            return
        yield step
        step += stride


def _dies_at(step: int, work: Callable[[], None]) -> bool:
    pid = os.fork()
    if pid == 0:
        _count_down(step)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _count_down(step: int) -> None:
    left = step

    def die_in_time(operation: str, path: Path) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    durable.failpoint = die_in_time
