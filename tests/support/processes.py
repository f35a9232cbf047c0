"""Real supervisor processes for tests: started, watched through their files, ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOOK_S = 0.02
WITHOUT_TORCH = """
from functools import partial
import supervisor.__main__ as program, supervisor.commands.run as run
run.LocalExecutor = partial(run.LocalExecutor, preload=("trainers.worker",))
program.main()
"""


def wait_for(what: str, happened: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Return once it has happened; fail, naming it, if it never does."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        select.select([], [], [], LOOK_S)


def start(
    run_dir: Path, *flags: str, environ: Mapping[str, str] | None = None, trains: bool = False
) -> subprocess.Popen[bytes]:
    """`incumbent run` in a session of its own; its console goes to `<run_dir>.console`. Where nothing `trains`, its
    trials do without torch, which takes five times as long to import as all the rest."""
    console = run_dir.with_name(run_dir.name + ".console").open("ab")
    program = ["-m", "supervisor"] if trains else ["-c", WITHOUT_TORCH]
    with console:
        return subprocess.Popen(
            [sys.executable, *program, "run", "--run-dir", str(run_dir), *flags],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def console(run_dir: Path) -> str:
    return run_dir.with_name(run_dir.name + ".console").read_text()


def finish(process: subprocess.Popen[bytes], run_dir: Path, timeout_s: float = 300.0) -> None:
    """Wait for a clean end; the console is the message where it is none."""
    assert process.wait(timeout=timeout_s) == 0, console(run_dir)


def kill(process: subprocess.Popen[bytes]) -> None:
    """As a power cut would, for the supervisor alone; its children have to notice by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def processes_naming(text: str) -> list[int]:
    """Pids of processes with the text in their command line or in their environment's trial folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
