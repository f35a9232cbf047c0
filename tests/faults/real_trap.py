"""Durable operations of a real process: each is noted, and at a chosen passing of one the process kills itself.

Told by the environment, which reaches every process of a run. Imports nothing heavy: the supervisor and its trials do.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from supervisor.journal import durable, sealed

PASSED = "FAULTS_PASSED"  # a file that takes a line per operation: its place
DIE_AT = "FAULTS_DIE_AT"  # a line "3 <place>" each: the third passing of it, whichever process comes by
COUNT = "FAULTS_COUNT"  # per such line a file of this name and its number, as long as there were passings
SAVE_INTERVAL = "FAULTS_SAVE_INTERVAL_S"  # seconds between two resume points of a training
LAYER = (durable.__file__, sealed.__file__)  # places are told apart by who calls these
ROOT = str(Path(__file__).resolve().parents[2]) + "/"


def set_trap(kind: Callable[[], str]) -> None:
    """`kind` says what this process is: a place is named after it."""
    passed, count = os.environ.get(PASSED), os.environ.get(COUNT, "")
    traps = [line.partition(" ") for line in os.environ.get(DIE_AT, "").splitlines()]

    def note(operation: str, path: Path) -> None:
        place = f"{kind()} {operation} {_site()} {_class_of(path.name)}"
        if passed:
            _append(passed, f"{place}\n")
        for index, (number, _, wanted) in enumerate(traps):
            if place == wanted and _append(f"{count}{index}", ".") == int(number):
                os.kill(os.getpid(), signal.SIGKILL)

    durable.failpoint = note


def _site() -> str:
    """The function that asked for something durable, as file:name."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename in LAYER and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.removeprefix(ROOT)}:{frame.f_code.co_qualname}"


def _class_of(name: str) -> str:
    """The file's name without what differs from file to file."""
    return re.sub(r"\d+", "N", re.sub(r"[0-9a-f]{64}", "<hash>", name))


def _append(path: str, text: str) -> int:
    """Atomically, whoever else writes; the file's length after it."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)
