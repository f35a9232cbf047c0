"""Running one program of a user: own session, capped output, a deadline, and nothing of it left behind afterwards.

The program dies with the trial (PR_SET_PDEATHSIG). What it started itself is killed when it ends: its process group
first, then whatever left the group, which the kernel hands to us as its subreaper. What survived a kill -9 of the trial
is found at the next start by a variable in its environment (`kill_leftovers`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainers.target import NoProcessLeft

OUTPUT_LIMIT_BYTES = 2**20
ERROR_TAIL_BYTES = 16 * 2**10
CHUNK_BYTES = 2**16
WATCH_INTERVAL_S = 0.25
TERMINATE_GRACE_S = 2.0  # between SIGTERM and SIGKILL, for programs that clean up after themselves
REAP_LIMIT_S = 5.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37
_RESET_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a trial ignores some of them, its program must not

_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork


@dataclass(frozen=True)
class Finished:
    """How a program ended. `exit_code` is negative for a signal; output is what fitted, newest bytes kept."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    too_large: bool = False  # more than OUTPUT_LIMIT_BYTES on stdout

    @property
    def how(self) -> str:
        """`exit code 3`, `killed by SIGSEGV`, for people."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        try:
            return f"killed by {signal.Signals(-self.exit_code).name}"
        except ValueError:
            return f"killed by signal {-self.exit_code}"

    @property
    def error_tail(self) -> str:
        return self.stderr.decode("utf-8", "replace").strip()


@dataclass(frozen=True)
class Call:
    """What to run. `stop_when_too_large` ends a program whose stdout is its answer and can no longer be one."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    timeout_s: float
    stop_when_too_large: bool = True


class _Tail:
    """The last bytes of a stream of any length."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        self._bytes += data
        del self._bytes[: max(0, len(self._bytes) - self._limit)]

    @property
    def overflowed(self) -> bool:
        return self.total > self._limit

    def get(self) -> bytes:
        return bytes(self._bytes)


def run(call: Call, watch: Callable[[], None]) -> Finished:
    """Run the program to its end. `watch` is called every quarter second; what it raises ends the program too.

    Raises OSError where the program cannot be started, NoProcessLeft where no program could be.
    """
    deadline_s = time.monotonic() + call.timeout_s
    with _subreaper() as earlier, _started(call) as process:
        streams = _Streams(process)
        try:
            verdict = _until_end(call, process, streams, watch, deadline_s)
        finally:
            _end(process, earlier)
            streams.drain()
            streams.close()
    return Finished(
        exit_code=process.returncode,
        stdout=streams.stdout.get(),
        stderr=streams.stderr.get(),
        timed_out=verdict == "timed_out",
        too_large=streams.stdout.overflowed,
    )


class _Streams:
    """Both pipes and the process's end in one selector."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdout, self.stderr = _Tail(OUTPUT_LIMIT_BYTES), _Tail(ERROR_TAIL_BYTES)
        self._selector = selectors.DefaultSelector()
        self._pidfd = os.pidfd_open(process.pid)
        self._selector.register(self._pidfd, selectors.EVENT_READ, None)
        pipes: tuple[tuple[IO[bytes], _Tail], ...] = ((process.stdout, self.stdout), (process.stderr, self.stderr))
        for pipe, tail in pipes:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, tail)

    def wait(self, timeout_s: float) -> bool:
        """Take what is there; True once the process has ended."""
        ended = False
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                ended = True
            else:
                self._take(key.fileobj, key.fd, key.data)
        return ended

    def _take(self, pipe: object, descriptor: int, tail: _Tail) -> bool:
        with contextlib.suppress(BlockingIOError):
            data = os.read(descriptor, CHUNK_BYTES)
            tail.add(data)
            if not data:
                self._selector.unregister(descriptor)
            return bool(data)
        return False

    def drain(self) -> None:
        """After the end: what still stands in the pipes."""
        for key in list(self._selector.get_map().values()):
            while key.data is not None and self._take(key.fileobj, key.fd, key.data):
                pass

    def close(self) -> None:
        self._selector.close()
        os.close(self._pidfd)


def _until_end(
    call: Call, process: subprocess.Popen[bytes], streams: _Streams, watch: Callable[[], None], deadline_s: float
) -> str:
    """Read until the program ends, or must be ended: ended | timed_out | too_large."""
    while True:
        remaining_s = deadline_s - time.monotonic()
        if streams.wait(max(0.0, min(WATCH_INTERVAL_S, remaining_s))):
            return "ended"
        if call.stop_when_too_large and streams.stdout.overflowed:
            return "too_large"
        if remaining_s <= 0:
            return "timed_out"
        watch()


@contextlib.contextmanager
def _started(call: Call) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            list(call.command),
            cwd=call.folder,
            env=dict(call.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_in_child(os.getpid()),
        )
    except BlockingIOError as error:  # EAGAIN
        raise NoProcessLeft(f"{call.command[0]}: {error}") from error
    with process:
        yield process


def _in_child(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)  # the trial died before the line above
        for number in _RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare


def _end(process: subprocess.Popen[bytes], earlier: frozenset[int]) -> None:
    """Ask, then kill: the group while its leader's number is still taken, then all that had left the group."""
    if not _ended(process.pid, 0.0):
        _signal_group(process.pid, signal.SIGTERM)
        _ended(process.pid, TERMINATE_GRACE_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    deadline_s = time.monotonic() + REAP_LIMIT_S
    while time.monotonic() < deadline_s:
        left = _children() - earlier
        if not left:
            return
        for child in left:
            _kill_and_reap(child, deadline_s)


def _ended(pid: int, timeout_s: float) -> bool:
    """Whether our child has ended, without reaping it."""
    descriptor = os.pidfd_open(pid)
    try:
        return _readable(descriptor, timeout_s)
    finally:
        os.close(descriptor)


def _readable(descriptor: int, timeout_s: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _kill_and_reap(pid: int, deadline_s: float) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        _ended(pid, max(0.0, deadline_s - time.monotonic()))
        os.waitpid(pid, os.WNOHANG)


def _children() -> frozenset[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return frozenset(found)


@contextlib.contextmanager
def _subreaper() -> Iterator[frozenset[int]]:
    """Orphans of what is run inside come to us, not to init. Yields the children we had before: they are left alone."""
    before = ctypes.c_int()
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield _children()
    finally:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def kill_leftovers(variable: str, value: str) -> int:
    """Kill every process whose environment holds `variable=value`: children of an earlier attempt. Their number."""
    wanted = f"{variable}={value}".encode()
    killed = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            killed += _kill_if(int(entry.name), wanted)
    return killed


def _kill_if(pid: int, wanted: bytes) -> bool:
    try:
        if wanted not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return False
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if wanted not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return False  # the number was given to another process meanwhile
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return _readable(descriptor, REAP_LIMIT_S)
    except OSError:
        return False
    finally:
        os.close(descriptor)
