"""The supervisor's end of a fork server: start it, give orders, hear what happened, notice when it is gone."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from supervisor.errors import TryAgainError
from supervisor.execution.child import Order

MESSAGE_BYTES = 64 * 1024
TAIL_BYTES = 4000
CLOSE_WAIT_S = 5.0
QUIET = {"ORT_DISABLE_TELEMETRY": "1"}  # or onnxruntime keeps a database and a thread to report its use with
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# The package is found as the supervisor found it, whatever the working folder: sys.path travels as an argument. The
# server's main module is this line, so that no console script or test runner is imported again in a trial.
BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from supervisor.execution.forkserver import main; sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))"
)


@dataclass(frozen=True)
class Ready:
    """Everything is imported. `base_mb` is memory that each trial shares with the server."""

    base_mb: int


@dataclass(frozen=True)
class PreloadFailed:
    """A module could not be imported; the server is gone."""

    module: str
    error: str


@dataclass(frozen=True)
class Started:
    """The trial's process exists."""

    handle: str
    pid: int


@dataclass(frozen=True)
class Refused:
    """No process could be made. `passing`: the machine had none left, which says nothing about the trial."""

    handle: str
    error: str
    passing: bool


@dataclass(frozen=True)
class Ended:
    """The trial's process and all it left behind are gone."""

    handle: str
    exit_code: int | None
    signal: int | None
    peak_ram_mb: int
    tail: str


Event = Ready | PreloadFailed | Started | Refused | Ended
EVENTS: Mapping[str, type[Event]] = {
    "ready": Ready,
    "preload_failed": PreloadFailed,
    "started": Started,
    "refused": Refused,
    "ended": Ended,
}


class ServerLink:
    """One fork server process, from its start to its end. A lost one is replaced by a new object."""

    def __init__(self, preload: Sequence[str], threads: int) -> None:
        """Start the server; it answers Ready or PreloadFailed when it has imported the modules.

        Raises TryAgainError where the machine has no process for it.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, self._lifeline = os.pipe()
        self._errors = os.memfd_create("fork-server-output")  # no file: the disk may be full
        # Read by numerical libraries when they load, so it must be set before the preload.
        environment = {**os.environ, **QUIET, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"  # in the command line of the server and of its forks alone
        arguments = [str(theirs.fileno()), str(reading), path, self.mark]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=(theirs.fileno(), reading),
                env=environment,
                start_new_session=True,  # a terminal's Ctrl-C is for the supervisor alone
            )
        except OSError as error:
            self._control.close()
            os.close(self._lifeline)
            os.close(self._errors)
            raise TryAgainError(
                f"the process that starts trials cannot be made: {error.strerror}; look for too many processes or too"
                " little memory (ulimit -u), then start again"
            ) from error
        finally:
            theirs.close()
            os.close(reading)
        self._control.send(json.dumps({"preload": list(preload)}).encode())
        self._control.setblocking(False)
        self._epitaph: str | None = None
        self.ready = False
        self.lost = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """Readable when `events` has something to say."""
        return self._control.fileno()

    def order(self, order: Order) -> None:
        """Ask for a trial. A server that is gone shows in `events`."""
        try:
            self._control.send(json.dumps(asdict(order)).encode())
        except OSError:
            self.lost = True

    def events(self) -> Iterator[Event]:
        """What has happened since the last call; sets `lost` at the end of the connection."""
        while True:
            try:
                message = self._control.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                message = b""
            if not message:
                self.lost = True
                return
            fields = json.loads(message)
            event = EVENTS[fields.pop("event")](**fields)
            self.ready = self.ready or isinstance(event, Ready)
            yield event

    def close(self) -> str:
        """End the server with all its trials, at once if it obeys and by SIGKILL if not; how it ended, in words.

        Closing again only says it again: the descriptors' numbers may be others' by then.
        """
        if self._epitaph is None:
            self._epitaph = self._close()
        return self._epitaph

    def _close(self) -> str:
        self._control.close()
        if self.ready and not self.lost:  # before it is ready it has no trial to end and does not listen
            _wait_for_end(self._process.pid, CLOSE_WAIT_S)
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        os.close(self._lifeline)
        printed_bytes = os.fstat(self._errors).st_size
        printed = (
            os.pread(self._errors, TAIL_BYTES, max(0, printed_bytes - TAIL_BYTES)).decode(errors="replace").strip()
        )
        os.close(self._errors)
        ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        return f"the fork server (pid {self.pid}) {ended}" + (f": {printed}" if printed else "")


def _wait_for_end(pid: int, timeout_s: float) -> bool:
    """Wait for a child's end without collecting it."""
    descriptor = os.pidfd_open(pid)
    try:
        return wait_readable([descriptor], timeout_s) != []
    finally:
        os.close(descriptor)


def wait_readable(descriptors: Sequence[int], timeout_s: float) -> list[int]:
    """Those with something to read, or at their end, within the timeout; unlike select for any number of them."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, timeout_s) * 1000)]
