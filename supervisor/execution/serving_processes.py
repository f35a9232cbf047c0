"""Which processes serve a run folder. Each server leaves a file that names it, as long as it lives.

What a server uses is neither ours nor other programs': it has its own share of the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from supervisor.execution import linux
from supervisor.execution.linux import Process

FOLDER = Path("serving", "servers")


@contextlib.contextmanager
def said_to_serve(run_dir: Path) -> Iterator[None]:
    """While the block runs, this process is found by `serving_pids`. Where the folder cannot be written it is not, and
    serves all the same."""
    folder, pid = run_dir / FOLDER, os.getpid()
    path, table = folder / str(pid), linux.processes()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _forget_the_dead(folder, table)
        path.write_text(f"{table[pid].began}\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def serving_pids(run_dir: Path, table: Mapping[int, Process]) -> set[int]:
    """Pids of the folder's servers on this machine, without their children."""
    return {int(path.name) for path in _files(run_dir / FOLDER) if _lives(path, table)}


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.isdigit()]
    except OSError:
        return []


def _lives(path: Path, table: Mapping[int, Process]) -> bool:
    """Whether it is still the process that wrote the file: a pid is given again once its process has ended."""
    process = table.get(int(path.name))
    try:
        return process is not None and path.read_text().strip() == str(process.began)
    except (OSError, UnicodeDecodeError):
        return False


def _forget_the_dead(folder: Path, table: Mapping[int, Process]) -> None:
    """Of servers that were killed."""
    for path in _files(folder):
        if not _lives(path, table):
            path.unlink(missing_ok=True)
