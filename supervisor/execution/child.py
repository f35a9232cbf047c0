"""What a trial process does between its fork and the worker's first line. Torch-free, like everything it imports.

Runs in a copy of the fork server, so its first duty is to stop being one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import importlib
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from supervisor.execution import linux
from supervisor.execution.ending import EXIT_FENCED
from supervisor.execution.executor import EXIT_OUT_OF_MEMORY, EXIT_REFUSED, STOP_NAME

EXIT_CRASHED = 1
ENVIRONMENT_NAME = "INCUMBENT_TRIAL"  # marks every program a trial starts with the trial's folder
VRAM_NAME = "INCUMBENT_VRAM_FRACTION"  # the share of the GPU's memory that the trial and its programs may take
DEVICE_NAME = "INCUMBENT_DEVICE"  # what the trial has to train on, where that is a GPU: the only one that it sees
ONLY_GPU = "cuda:0"
VISIBLE_NAME = "CUDA_VISIBLE_DEVICES"
PROCESS_NAME = "trial-"  # how a trial and its mere forks are named, before the handle
TEMPORARY_NAME = "tmp"  # in the trial folder
LONGEST_TEMPORARY = 74  # bytes: a Unix socket's name has 107, of which `/pymp-12345678/listener-12345678` takes 32
FENCE_WAIT_S = 10.0  # how long a process of an earlier attempt may take to die
FENCE_LOOK_S = 0.01
OOM_SCORE = 500  # the kernel, short of memory, should take a trial and not the supervisor


@dataclass(frozen=True)
class Order:
    """One trial to start."""

    handle: str
    folder: str
    worker: str  # module with `main(folder: str) -> int`
    ram_mb: int | None  # address space beyond the start; None where a GPU driver reserves far more than it uses
    vram_fraction: float | None = None  # of the GPU's memory; None without GPU
    visible: str | None = None  # the GPU that it sees, "" none, None whatever there is
    free: bool = True  # whether it may train elsewhere too


def run(order: Order, server_pid: int, output: int, lifeline: int) -> NoReturn:
    """Become the trial and never return. `output` takes what it prints; `lifeline` ends with the supervisor."""
    code = EXIT_CRASHED
    try:
        _stand_alone(order, server_pid, output)
        _keep_folder(Path(order.folder))
        _keep_temporary_files(Path(order.folder))
        _watch_supervisor(lifeline)
        _limit(order.ram_mb)
        code = importlib.import_module(order.worker).main(order.folder)
    except MemoryError:
        code = EXIT_OUT_OF_MEMORY
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        # The copied interpreter's clean-up (exit handlers, the server's objects) is not this process's to run.
        os._exit(code)


def _stand_alone(order: Order, server_pid: int, output: int) -> None:
    signal.set_wakeup_fd(-1)
    folder = Path(order.folder)

    def note_stop(signum: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # until the worker listens itself, a SIGTERM becomes the file it looks for
            (folder / STOP_NAME).touch()

    signal.signal(signal.SIGTERM, note_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != server_pid:
        os._exit(EXIT_CRASHED)  # the server ended before the kernel knew our wish
    os.setsid()
    linux.adopt_orphans()
    linux.name_process(f"{PROCESS_NAME}{order.handle}"[:15])
    for target in (1, 2):
        os.dup2(output, target)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # a line before a segmentation fault should be seen
    faulthandler.enable()
    os.environ[ENVIRONMENT_NAME] = order.folder
    if order.vram_fraction is not None:
        os.environ[VRAM_NAME] = str(order.vram_fraction)
    if order.visible is not None:  # in time: CUDA reads it when it is first used, which the fork server never does
        os.environ[VISIBLE_NAME] = order.visible
    if order.visible and not order.free:
        os.environ[DEVICE_NAME] = ONLY_GPU
    with contextlib.suppress(OSError):  # not in every container
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def _keep_folder(folder: Path) -> None:
    """Hold a lock on the folder as long as this process lives; whoever had it before must be gone."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline_s = time.monotonic() + FENCE_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                print(f"{folder}: a process of an earlier attempt still works here", file=sys.stderr)
                raise SystemExit(EXIT_FENCED) from None
            time.sleep(FENCE_LOOK_S)
        else:
            return


def _keep_temporary_files(folder: Path) -> None:
    """Let TMPDIR be in the trial's folder: a trial that is killed leaves nothing where nobody would ever remove it."""
    place = folder / TEMPORARY_NAME
    shutil.rmtree(place, ignore_errors=True)  # an earlier attempt's
    try:
        place.mkdir()
    except OSError:  # a full disk: the trial will say so where it matters
        return
    name = str(place)
    if len(os.fsencode(name)) > LONGEST_TEMPORARY:
        name = f"/proc/{os.getpid()}/fd/{os.open(place, os.O_PATH | os.O_CLOEXEC)}"
    os.environ["TMPDIR"] = name
    tempfile.tempdir = None  # what the fork server may have found out already


def _watch_supervisor(lifeline: int) -> None:
    try:
        threading.Thread(target=_leave_with_supervisor, args=(lifeline,), daemon=True).start()
    except RuntimeError as error:  # the system has no thread left, as it might have had no process
        traceback.print_exc()
        raise SystemExit(EXIT_REFUSED) from error


def _leave_with_supervisor(lifeline: int) -> None:
    """Wait for the end of the supervisor, which alone holds the other end, and take everything along."""
    while os.read(lifeline, 1):
        pass  # nothing is ever written; only the end of file comes
    below = linux.descendants(os.getpid(), linux.processes())
    for pid in below - linux.caretakers(below):  # these end by themselves when we do
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _limit(ram_mb: int | None) -> None:
    """Bound the address space. Only the soft limit: a program that reserves more than it uses may raise its own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if ram_mb is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = (linux.address_space_mb(os.getpid()) + ram_mb) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
