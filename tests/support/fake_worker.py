"""A trial's worker for executor tests: the file `do` in the trial folder names one of the functions below.

Each says that it runs by the file `began`, so that a test can wait for the event.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from supervisor.execution.executor import EXIT_STOPPED, HEARTBEAT_NAME, STOP_NAME

DO_NAME = "do"
BEGAN_NAME = "began"
PIDS_NAME = "pids"


def main(folder: str) -> int:
    path = Path(folder)
    name, *arguments = (path / DO_NAME).read_text().split()
    return int(globals()[f"do_{name}"](path, *arguments) or 0)


def _began(folder: Path) -> None:
    pending = folder / f".{BEGAN_NAME}"
    pending.write_text(str(os.getpid()))
    pending.rename(folder / BEGAN_NAME)


def _forever() -> None:
    while True:
        signal.pause()


def do_result(folder: Path) -> None:
    _began(folder)
    (folder / "result.json").write_text("{}\n")


def do_code(folder: Path, code: str) -> int:
    return int(code)


def do_raise(folder: Path, kind: str) -> None:
    raise {"MemoryError": MemoryError, "ValueError": ValueError, "KeyboardInterrupt": KeyboardInterrupt}[kind](
        "as told"
    )


def do_quit(folder: Path, code: str) -> None:
    os._exit(int(code))


def do_segfault(folder: Path) -> None:
    ctypes.string_at(0)


def do_kill_itself(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def do_obey(folder: Path) -> int:
    """Beat until asked to stop by the file or by SIGTERM."""
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: terminated.set())
    _began(folder)
    while not (folder / STOP_NAME).exists() and not terminated.wait(0.02):
        (folder / HEARTBEAT_NAME).touch()
    (folder / "how").write_text("terminated" if terminated.is_set() else "asked")
    return EXIT_STOPPED


def do_obey_sigterm(folder: Path) -> int:
    """Blind to the file, heeds SIGTERM only."""
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: terminated.set())
    _began(folder)
    while not terminated.wait(0.02):
        (folder / HEARTBEAT_NAME).touch()
    return EXIT_STOPPED


def do_ignore_everything(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _began(folder)
    while True:
        (folder / HEARTBEAT_NAME).touch()
        time.sleep(0.02)


def do_fall_silent(folder: Path) -> None:
    (folder / HEARTBEAT_NAME).touch()
    _began(folder)
    _forever()


def do_allocate(folder: Path, megabytes: str) -> None:
    blocks = []
    for _ in range(int(megabytes)):
        blocks.append(bytearray(2**20))
        blocks[-1][:: os.sysconf("SC_PAGESIZE")] = b"x" * (2**20 // os.sysconf("SC_PAGESIZE"))
    _began(folder)


def do_allocate_in_child(folder: Path, megabytes: str) -> None:
    """A program of its own that uses the memory: the trial's own limit does not see it."""
    code = f"import time; kept = b'x' * ({megabytes} * 2**20); time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=False, cwd=folder, preexec_fn=_no_limit)


def _no_limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def do_shout(folder: Path, megabytes: str) -> int:
    print("first line")
    for _ in range(int(megabytes)):
        os.write(2, b"x" * (2**20 - 1) + b"\n")
    print("last line")
    return 3


def _family(folder: Path) -> None:
    """A child, a child in its own session, a daemon that was forked twice, a fork without a program of its own."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep)
    alone = subprocess.Popen(sleep, start_new_session=True)
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.close(reading)
            os.write(writing, str(os.getpid()).encode())
            os.close(writing)
            _forever()
        os._exit(0)
    os.close(writing)
    os.waitpid(middle, 0)
    daemon = int(os.read(reading, 100))
    fork = os.fork()
    if fork == 0:
        _forever()
    (folder / PIDS_NAME).write_text(" ".join(map(str, [child.pid, alone.pid, daemon, fork])))


def do_leave_family(folder: Path) -> None:
    _family(folder)


def do_keep_family(folder: Path) -> None:
    _family(folder)
    do_ignore_everything(folder)


def do_keep_stranger(folder: Path) -> None:
    """A daemon that was forked twice and whose environment and command line say nothing about us."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], {})
        os.write(writing, str(daemon).encode())
        os._exit(0)
    (folder / PIDS_NAME).write_bytes(os.read(reading, 100))
    do_ignore_everything(folder)


def do_hold_gil(folder: Path) -> None:
    """One endless call into C that never lets a Python thread or signal handler run: a mutex locked twice."""
    _began(folder)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


def do_open_files(folder: Path) -> None:
    """Which descriptors a trial starts with."""
    names = sorted(os.listdir("/proc/self/fd"), key=int)
    (folder / "files").write_text("\n".join(_link(name) for name in names))


def _link(name: str) -> str:
    try:
        return f"{name} {os.readlink(f'/proc/self/fd/{name}')}"
    except OSError:
        return f"{name} gone"


def do_describe(folder: Path) -> None:
    """What a trial finds around it."""
    import json

    facts = {
        "argv": sys.argv,
        "main": getattr(sys.modules["__main__"], "__file__", None),
        "pytest": "pytest" in sys.modules,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "vram": os.environ.get("INCUMBENT_VRAM_FRACTION"),
        "device": os.environ.get("INCUMBENT_DEVICE"),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "address_space": resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY,
        "session": os.getsid(0) == os.getpid(),
        "sigint_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "path": sys.path,
        "telemetry": os.environ.get("ORT_DISABLE_TELEMETRY"),
    }
    (folder / "facts.json").write_text(json.dumps(facts))


def do_use_temporary_files(folder: Path) -> None:
    """A file and a socket, as multiprocessing names them, that are not there yet."""
    import socket
    import tempfile

    with open(os.path.join(tempfile.gettempdir(), "file"), "x"):
        pass
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.join(os.environ["TMPDIR"], "socket"))


def do_first_line(folder: Path) -> None:
    """When the worker's first line ran; the monotonic clock is one for all processes of a machine."""
    (folder / "at").write_text(repr(time.monotonic()))
