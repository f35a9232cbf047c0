"""Work that needs torch, in processes of their own: a folder with `task.json` in, `result.json` out.

What a process prints is its progress; why it failed stands in its last words and its exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from supervisor.contract import as_json, parse
from supervisor.errors import IncumbentError, StorageUnreachableError, TryAgainError, UsageError
from supervisor.journal import sealed
from supervisor.tasks import FAILED, RESULT_NAME, TASK_NAME

ERRORS = {FAILED + kind.exit_code: kind for kind in (IncumbentError, UsageError, StorageUnreachableError)}
STDERR_CHARACTERS = 2000
LOOK_S = 0.05

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job(Generic[T]):
    """`module` of trainers/jobs is given `task` and answers with a `result`."""

    module: str
    task: object
    result: type[T]


def run(job: Job[T], say: Say, leave: threading.Event | None = None) -> T:
    """One job. Raises what `run_together` raises."""
    return run_together([job], say, leave)[0]


def run_together(jobs: Sequence[Job[T]], say: Say, leave: threading.Event | None = None) -> list[T]:
    """The results of jobs that run beside each other; `say` hears their lines. Once `leave` is set they are asked to
    end, with the result they have by then.

    Raises the error that a process left with, TryAgainError where it crashed; the others are ended then.
    """
    with tempfile.TemporaryDirectory(prefix="incumbent-") as root:
        folders = [Path(root) / str(number) for number in range(len(jobs))]
        with _processes(jobs, folders) as processes:
            threads = [_listen(process, say) for process in processes]
            codes = _codes(processes, leave or threading.Event())
        for thread in threads:
            thread.join()
        for folder, code in zip(folders, codes, strict=True):
            if code:
                said = _stderr(folder).read_text(errors="replace")[-STDERR_CHARACTERS:].strip()
                raise ERRORS.get(code, TryAgainError)(said or f"a process ended with {code}")
        return [parse(job.result, sealed.read(folder / RESULT_NAME)) for job, folder in zip(jobs, folders, strict=True)]


@contextmanager
def _processes(jobs: Sequence[Job[T]], folders: Sequence[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    try:
        for job, folder in zip(jobs, folders, strict=True):
            folder.mkdir()
            sealed.write(folder / TASK_NAME, as_json(job.task))
            started.append(_start(job.module, folder))
        yield started
    finally:
        for process in started:
            process.terminate()
            process.wait()


def _codes(processes: Sequence[subprocess.Popen[str]], leave: threading.Event) -> list[int | None]:
    """When all have ended or one has failed; None for those that still run then."""
    is_asked = False
    while True:
        if leave.is_set() and not is_asked:
            is_asked = True
            for process in processes:
                process.terminate()
        codes = [process.poll() for process in processes]
        if None not in codes or any(codes):
            return codes
        time.sleep(LOOK_S)


def _start(module: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"trainers.jobs.{module}", str(folder)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # results depend on it
    with _stderr(folder).open("wb") as stderr:
        return subprocess.Popen(command, env=one_thread, stdout=subprocess.PIPE, stderr=stderr, text=True)


def _stderr(folder: Path) -> Path:
    return folder / "stderr.log"


def _listen(process: subprocess.Popen[str], say: Say) -> threading.Thread:
    def hear() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                say(line.rstrip("\n"))

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    return thread
