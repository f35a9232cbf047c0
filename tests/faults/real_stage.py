"""A run of the real program on a stage: supervisor and server, watched, struck and started again."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from supervisor.registry.active import ActiveFile
from tests.faults import real_processes
from tests.faults.cell import PromiseBrokenError
from tests.faults.real_questions import Asker
from tests.faults.real_trap import COUNT, DIE_AT, PASSED, SAVE_INTERVAL
from tests.support.ports import free_port
from tests.support.processes import ROOT, wait_for
from tests.support.remains import Row, below, nothing_remains

KINDS = ("trial", "fork server", "server", "supervisor", "all")
LOOK_S = 0.02
DRAIN_S = 20.0
KILLED = -signal.SIGKILL


# What torch and onnxruntime put into TMPDIR and keep using: a cache's folder, the number of a session.
CACHES = ("torchinductor_*", ".ses")


@dataclass
class Stage:
    """A killed supervisor or server is started again at once, as tools/start_training.sh does after a second; another
    unclean end breaks the promise. Whatever is left when the `with` block fails is killed."""

    folder: Path
    flags: Sequence[str]
    environ: Mapping[str, str]
    served: Sequence[str]  # targets about which the server is asked all the time; none: no server
    save_interval_s: float
    starts: int = 0  # of the supervisor
    traps: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run_dir = self.folder / "run"
        self._port = free_port()
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.server: subprocess.Popen[bytes] | None = None
        self.asker: Asker | None = None
        self._server_starts = 0

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self.asker is not None:
            self.asker.stop()
        if failure is not None:  # otherwise whatever is left should not be, and somebody looks
            real_processes.kill_everything()
        for process in (self.supervisor, self.server):
            if process is not None:
                process.poll()  # buries it, if it was killed last

    def note_passed(self, path: Path) -> None:
        """Write down every durable operation that any process passes."""
        self.traps[PASSED] = str(path)

    def trap(self, *passings: tuple[str, int]) -> None:
        """Whichever process passes a place for the so-manieth time kills itself there."""
        lines = [f"{number} {place}" for place, number in passings]
        self.traps |= {DIE_AT: "\n".join(lines), COUNT: str(self.folder / "count")}

    def trapped(self) -> set[str]:
        """The places where a process was killed."""
        found = set()
        for index, line in enumerate(self.traps[DIE_AT].splitlines()):
            number, _, place = line.partition(" ")
            count = self.folder / f"count{index}"
            if count.exists() and count.stat().st_size >= int(number):
                found.add(place)
        return found

    def start(self) -> None:
        if self.served:
            self._start_server()
            self.asker = Asker(self.run_dir, self._port, self.served, self._serving)
        self.start_supervisor()

    def start_supervisor(self) -> None:
        self.starts += 1
        self.supervisor = self._start("run", *self.flags)

    def watch(self, happened: Callable[[], bool] = lambda: False) -> bool:
        """Until it has happened (True) or the run has ended well (False), with new starts of what was killed."""
        while not happened():
            assert self.supervisor is not None
            code = self.supervisor.poll()
            if code == 0:
                return False
            if code is not None and code != KILLED:
                raise PromiseBrokenError(f"the supervisor left with {code}:\n{self.console()}")
            if code is not None:
                self.start_supervisor()
            self.watch_server()
            select.select([], [], [], LOOK_S)
        return True

    def present(self, kind: str) -> list[Row]:
        """The living processes of a kind."""
        if kind == "trial":
            return real_processes.trials()
        if kind == "fork server":
            return real_processes.fork_servers()
        process = self.server if kind == "server" else self.supervisor
        return [row for row in below(os.getpid()) if process and row.pid == process.pid and row.state != "Z"]

    def strike(self, kind: str) -> int:
        """SIGKILL to all of a kind; how many took it. Of ours none is left when it returns."""
        struck = real_processes.kill_everything() if kind == "all" else real_processes.send(self.present(kind))
        for name, process in (("supervisor", self.supervisor), ("server", self.server)):
            if kind in (name, "all") and process is not None and struck:
                process.wait()
        return struck

    def leave(self) -> None:
        """The run has ended: the server serves what it left, drains, and nobody was told anything wrong."""
        if self.server is None or self.asker is None:
            return
        wait_for("the server answers with what active.json names", self._serves_the_best)
        self.asker.stop()
        self.server.terminate()
        code = self.server.wait(timeout=DRAIN_S)
        if code != 0 or self.asker.wrong:
            raise PromiseBrokenError("\n".join([f"the server left with {code}", *self.asker.wrong, self.console()]))

    def console(self) -> str:
        return (self.folder / "console").read_text()[-4000:]

    def _serves_the_best(self) -> bool:
        assert self.asker is not None
        self.watch_server()
        active = ActiveFile.read(self.run_dir)
        return active is not None and self.asker.latest == {key: entry.version for key, entry in active.targets.items()}

    def _serving(self) -> int | None:
        return self._server_starts if self.server is not None and self.server.poll() is None else None

    def watch_server(self) -> None:
        if self.server is None or (code := self.server.poll()) is None:
            return
        if code != KILLED:
            raise PromiseBrokenError(f"the server left with {code}:\n{self.console()}")
        self._start_server()

    def _start_server(self) -> None:
        self._server_starts += 1
        self.server = self._start("serve", "--beside-run", "--port", str(self._port))

    def _start(self, command: str, *flags: str) -> subprocess.Popen[bytes]:
        run_dir = ("--run-dir", str(self.run_dir))
        more = {"INCUMBENT_SERVING__PORT": str(self._port), SAVE_INTERVAL: str(self.save_interval_s)}
        with (self.folder / "console").open("ab") as console:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.faults.real_victim", command, *run_dir, *flags],
                cwd=ROOT,
                env={**os.environ, **self.environ, **self.traps, **more},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )


@contextlib.contextmanager
def alone_on(stage: Stage) -> Iterator[Stage]:
    """The stage, and nothing but its folder may be left when it is over."""
    with nothing_remains(stage.folder) as temporary, stage:
        yield stage
        for pattern in CACHES:
            for path in temporary.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
