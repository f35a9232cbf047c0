"""Targets whose trials misbehave, each in one way: `bad/<way>` does what the function `_<way>` below does in its build.

A way that returns lets the trial go on as the no-op target does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path

from supervisor.contract import Params, Reason, Status, TrialSpec
from tests.support.noop import NoopTarget
from trainers.target import Built, Control

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
EATEN_MB = 400
FLOOD_MB = 100
NEVER = threading.Event()
BEAT_S = 0.05

KIND = "tests.support.misbehaving:MisbehavingTarget"

COMPLETE = (Status.COMPLETE, Reason.BASELINE)
CRASHED = (Status.FAILED, Reason.CRASHED)
HUNG = (Status.FAILED, Reason.HUNG)
OUT_OF_MEMORY = (Status.OUT_OF_BUDGET, Reason.OUT_OF_MEMORY)
WALL_TIME = (Status.OUT_OF_BUDGET, Reason.WALL_TIME)

# How each ends. In this order those that take long begin first, and never five in a row fail, or a run takes a breath.
ENDS = {
    "stops_beating": HUNG,
    "stops_itself": HUNG,
    "leaves_children_and_hangs": HUNG,
    "closes_descriptors_and_hangs": HUNG,
    "floods_stderr": COMPLETE,
    "leaves_shared_memory_and_hangs": HUNG,
    "child_eats_memory": OUT_OF_MEMORY,
    "daemon_eats_memory": OUT_OF_MEMORY,
    "ignores_sigterm": WALL_TIME,
    "leaves_children": COMPLETE,
    "prints_forever": WALL_TIME,
    "eats_memory": OUT_OF_MEMORY,
    "segfaults": CRASHED,
    "leaves_without_result": CRASHED,
    "closes_descriptors": COMPLETE,
    "leaves_temporary_files": CRASHED,
    "leaves_shared_memory": CRASHED,
    "goes_on": COMPLETE,
}

Beat = Callable[[], None]


class MisbehavingTarget(NoopTarget):
    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control)
        self._way = globals()[f"_{spec.model_type}"]

    def build(self, params: Params, work: Path) -> Built:
        self._control.beat(0)
        self._way(lambda: self._control.beat(0))
        return super().build(params, work)


def _goes_on(beat: Beat) -> None:
    """No misbehaviour: what the others are compared with."""


def _stops_beating(beat: Beat) -> None:
    NEVER.wait()


def _stops_itself(beat: Beat) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _ignores_sigterm(beat: Beat) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while not NEVER.wait(BEAT_S):
        beat()


def _leaves_children(beat: Beat) -> None:
    """A family, and a daemon that nothing marks as ours."""
    _family()
    _daemon(lambda: os.execve(SLEEP[0], SLEEP, {}))


def _leaves_children_and_hangs(beat: Beat) -> None:
    _leaves_children(beat)
    NEVER.wait()


def _keeps_a_family_until_it_may_go_on(beat: Beat) -> None:
    """Deaf to every wish to stop for as long as the run folder holds the file `wait`."""
    wait = Path(os.environ["INCUMBENT_TRIAL"]).parent.parent / "wait"
    if wait.exists():
        _family()
    while wait.exists():
        beat()
        NEVER.wait(BEAT_S)


def _eats_memory(beat: Beat) -> None:
    _eat()


def _child_eats_memory(beat: Beat) -> None:
    """A program of the trial, which took away its own limit."""
    if os.fork() == 0:
        _unlimited_meal()
    while not NEVER.wait(BEAT_S):
        beat()


def _daemon_eats_memory(beat: Beat) -> None:
    _daemon(_unlimited_meal)
    while not NEVER.wait(BEAT_S):
        beat()


def _floods_stderr(beat: Beat) -> None:
    for _ in range(FLOOD_MB):
        os.write(2, b"x" * (2**20 - 1) + b"\n")
        beat()


def _prints_forever(beat: Beat) -> None:
    while True:
        print("x" * 4000)
        beat()


def _closes_descriptors(beat: Beat) -> None:
    os.closerange(0, 1024)


def _closes_descriptors_and_hangs(beat: Beat) -> None:
    os.closerange(0, 1024)
    NEVER.wait()


def _segfaults(beat: Beat) -> None:
    ctypes.string_at(0)


def _leaves_without_result(beat: Beat) -> None:
    os._exit(0)


def _leaves_temporary_files(beat: Beat) -> None:
    """Made by Python and by a program that it called; a kill leaves nobody to remove them."""
    tempfile.mkstemp()
    Path(tempfile.mkdtemp(), "file").write_bytes(b"x" * 1000)
    subprocess.run(["mktemp"], check=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _leaves_shared_memory(beat: Beat) -> None:
    kept = shared_memory.SharedMemory(create=True, size=2**20)
    os.kill(os.getpid(), signal.SIGKILL)
    kept.close()


def _leaves_shared_memory_and_hangs(beat: Beat) -> None:
    kept = shared_memory.SharedMemory(create=True, size=2**20)
    NEVER.wait()
    kept.close()


def _family() -> None:
    """A program, one in a session of its own, a fork, a fork that forked twice."""
    subprocess.Popen(SLEEP)
    subprocess.Popen(SLEEP, start_new_session=True)
    if os.fork() == 0:
        signal.pause()
    _daemon(signal.pause)


def _daemon(work: Callable[[], object]) -> None:
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)
    os.waitpid(middle, 0)


def _eat() -> list[bytearray]:
    return [bytearray(b"x" * 2**20) for _ in range(EATEN_MB)]


def _unlimited_meal() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kept = _eat()
    NEVER.wait()
    kept.clear()
