"""Trials on this machine: each a fork of a process that has imported torch once.

Who ends whom, whatever is killed:
- a trial ends      -> the fork server kills and buries all it left behind, then says so
- the supervisor    -> the fork server sees its socket end, kills every trial and leaves; each trial watches too
- the fork server   -> the kernel kills its trials; we wait until they are gone, start another, report LOST
- all of them       -> before the next attempt in a folder, programs marked with that folder are killed; a lock on the
                       folder keeps two attempts apart
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from supervisor.errors import IncumbentError
from supervisor.execution.attempt import Attempt
from supervisor.execution.child import Order
from supervisor.execution.executor import STDERR_NAME, STOP_NAME, Exit, ExitKind, Launch
from supervisor.execution.gpu import Gpu
from supervisor.execution.ladder import Patience
from supervisor.execution.leftovers import end_leftovers
from supervisor.execution.server_link import Ended, PreloadFailed, Ready, Refused, ServerLink, Started, wait_readable

WORKER = "trainers.worker"
PRELOAD = ("trainers.preload",)
LOOK_S = 0.25  # between two looks at heartbeats and rungs
ANSWER_S = 10.0  # how long the fork server may take to fork, or to say that a process is gone
PRELOAD_S = 300.0
STARTS = 3  # fork servers lost in a row before one had imported everything


class PreloadError(IncumbentError):
    """What every trial needs cannot be imported: repair the installation."""


class LocalExecutor:
    """The Executor protocol with a fork server. `threads` is what numerical libraries may use in one trial.

    Where a trial sees no GPU, RLIMIT_AS is what the process has at its start plus the budget's RAM. A GPU's driver
    reserves far more addresses than it uses: there memory in use is watched alone, the GPU's too, and the trial is told
    its share.
    """

    def __init__(
        self,
        slots: int = 1,
        worker: str = WORKER,
        preload: Sequence[str] = PRELOAD,
        patience: Patience | None = None,
        threads: int = 1,
        gpus: Sequence[Gpu] = (),
    ) -> None:
        self._slots = slots
        self._worker = worker
        self._preload = tuple(preload)
        self._patience = patience or Patience()
        self._threads = threads
        self._gpus = {gpu.card: gpu for gpu in gpus}
        self._attempts: dict[str, Attempt] = {}
        self._exits: dict[str, Exit] = {}
        self._submitted = 0
        self._failed_starts = 0
        self._start_server()

    def prepare(self) -> None:
        """Wait until trials can start. Raises PreloadError when what they need cannot be imported."""
        while not self._link.ready:
            self._advance()
            wait_readable([self._link.fileno()], LOOK_S)

    def submit(self, launch: Launch) -> str:
        attempt = Attempt(launch, self._patience, self._gpu_of(launch))
        if self.capacity() == 0:
            raise RuntimeError(f"all {self._slots} slots are taken")
        if any(attempt.folder == other.folder for other in self._attempts.values()):
            raise RuntimeError(f"{attempt.folder}: an attempt still runs here")
        if (launch.folder / STDERR_NAME).exists():  # opened before a fork: without it nothing ever ran here
            end_leftovers(attempt.folder)
        (launch.folder / STOP_NAME).unlink(missing_ok=True)
        self._submitted += 1
        handle = f"{launch.iteration:06d}-{self._submitted}"
        self._attempts[handle] = attempt
        self._give_orders()
        return handle

    def list(self) -> Sequence[str]:
        return sorted([*self._exits, *self._attempts], key=lambda handle: int(handle.rpartition("-")[2]))

    def poll(self, handle: str) -> Exit | None:
        if handle in self._attempts:
            self._advance()
        return None if handle in self._attempts else self._exits.pop(handle)

    def stop(self, handle: str, urgent: bool = False) -> None:
        attempt = self._attempts.get(handle)
        if attempt is None:
            return
        attempt.stop = True
        attempt.urgent = attempt.urgent or urgent
        self._advance()

    def capacity(self) -> int:
        return self._slots - len(self._attempts) - len(self._exits)

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._advance()
            left_s = deadline_s - time.monotonic()
            if self._exits or left_s <= 0:
                return
            readable = wait_readable([self._link.fileno(), *also], min(left_s, LOOK_S))
            if any(descriptor in readable for descriptor in also):
                return

    def close(self) -> None:
        self._link.close()
        for attempt in self._attempts.values():
            attempt.exit(ExitKind.LOST, "closed")
        self._attempts.clear()
        self._exits.clear()

    def server_pid(self) -> int:
        """Of the fork server, for `doctor` and for tests that kill it."""
        return self._link.pid

    def _gpu_of(self, launch: Launch) -> Gpu | None:
        card = launch.device.gpu
        return self._gpus.get(card) if card is not None else None

    def _start_server(self) -> None:
        self._link = ServerLink(self._preload, self._threads)
        self._base_mb = 0
        self._server_started_s = time.monotonic()

    def _give_orders(self) -> None:
        if not self._link.ready:
            return
        for handle, attempt in self._attempts.items():
            if attempt.ordered_s is None:
                budget, device = attempt.launch.budget, attempt.launch.device
                sees = device.gpu is not None or (bool(self._gpus) and not device.hides)
                ram_mb, vram = (None, budget.vram_fraction) if sees else (budget.ram_mb, None)
                self._link.order(Order(handle, attempt.folder, self._worker, ram_mb, vram, device.visible, device.free))
                attempt.ordered_s = time.monotonic()

    def _advance(self) -> None:
        """Hear what happened, replace a lost server, climb ladders."""
        self._hear()
        self._end_a_stuck_server()
        if self._link.lost:
            self._replace_server()
        for handle, attempt in list(self._attempts.items()):
            if attempt.lost is not None:
                self._end_lost(handle, attempt, attempt.lost)
            elif attempt.pid is not None:
                attempt.look()
            elif attempt.stop and attempt.ordered_s is None:
                self._finish(handle, attempt.exit(ExitKind.STOPPED, "stopped before it began"))

    def _hear(self) -> None:
        for event in self._link.events():
            if isinstance(event, Ready):
                self._base_mb, self._failed_starts = event.base_mb, 0
                self._give_orders()
            elif isinstance(event, PreloadFailed):
                raise PreloadError(
                    f"trials cannot start: importing {event.module} failed; repair the installation, then start again\n"
                    f"{event.error.strip()}"
                )
            elif isinstance(event, Started):
                self._attempts[event.handle].started(event.pid, self._base_mb)
            elif isinstance(event, Refused):
                kind = ExitKind.REFUSED if event.passing else ExitKind.LOST
                words = f"no process could be made: {event.error}"
                self._finish(event.handle, self._attempts[event.handle].exit(kind, words))
            elif isinstance(event, Ended):
                self._finish(event.handle, self._attempts[event.handle].ended(event))

    def _finish(self, handle: str, end: Exit) -> None:
        del self._attempts[handle]
        self._exits[handle] = end

    def _end_a_stuck_server(self) -> None:
        """A server that neither forks nor buries (stopped by somebody, say) is as good as lost."""
        now_s = time.monotonic()
        stuck = not self._link.ready and now_s - self._server_started_s > PRELOAD_S
        for attempt in self._attempts.values():
            if attempt.gone() and attempt.gone_s is None:
                attempt.gone_s = now_s
            waiting_s = attempt.gone_s if attempt.pid is not None else attempt.ordered_s
            stuck = stuck or (waiting_s is not None and now_s - waiting_s > ANSWER_S)
        if stuck:
            self._link.lost = True

    def _replace_server(self) -> None:
        words = self._link.close()
        self._failed_starts += not self._link.ready
        for attempt in self._attempts.values():
            if attempt.ordered_s is not None:
                attempt.lost = attempt.lost or words
                attempt.server_mark = attempt.server_mark or self._link.mark
                attempt.signal(signal.SIGKILL)
        if self._failed_starts >= STARTS:
            raise PreloadError(
                f"trials cannot start: {words}, {STARTS} times while it imported {', '.join(self._preload)}; "
                "repair the installation, then start again"
            )
        self._start_server()

    def _end_lost(self, handle: str, attempt: Attempt, words: str) -> None:
        """RUNNING -> LOST, only once all its processes are gone: a retry must find the folder to itself."""
        if attempt.pid is None or attempt.gone(LOOK_S):
            end_leftovers(attempt.folder, attempt.server_mark, attempt.family)
            self._finish(handle, attempt.exit(ExitKind.LOST, words))
