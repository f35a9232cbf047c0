"""Trial folders for executor tests, and waiting for what happens in them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from supervisor.contract import Budget
from supervisor.execution.executor import Executor, Exit, Launch
from tests.support.fake_worker import BEGAN_NAME, DO_NAME

PATIENCE_S = 30.0


def launch(folder: Path, do: str, wall_s: float = 600.0, ram_mb: int = 512, iteration: int = 1) -> Launch:
    """A launch whose fake worker does `do`, in a folder made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DO_NAME).write_text(do)
    return Launch(folder, iteration, Budget(steps=1, wall_s=wall_s, ram_mb=ram_mb), "build")


def collect(executor: Executor, handle: str) -> Exit:
    """Wait for the end of one attempt."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (end := executor.poll(handle)) is None:
        assert time.monotonic() < deadline_s, "the attempt did not end"
        executor.wait(1.0)
    return end


def run(executor: Executor, folder: Path, do: str, **options: float) -> Exit:
    return collect(executor, executor.submit(launch(folder, do, **options)))  # type: ignore[arg-type]


def drive_until(executor: Executor, happened: Callable[[], bool], what: str) -> None:
    """Let the executor work until something is true."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        executor.wait(0.02)


def begin(executor: Executor, folder: Path, do: str, **options: float) -> tuple[str, int]:
    """Submit and wait until the worker runs: handle and pid."""
    handle = executor.submit(launch(folder, do, **options))  # type: ignore[arg-type]
    drive_until(executor, (folder / BEGAN_NAME).exists, "the worker")
    return handle, int((folder / BEGAN_NAME).read_text())


def gone_within(pid: int, timeout_s: float) -> bool:
    """Wait for the end of a process that need not be our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)
