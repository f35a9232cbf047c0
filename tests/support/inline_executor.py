"""An executor without processes: a trial runs inside `wait`, in the caller's own thread. For tests of the loop."""

from __future__ import annotations

import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence

from supervisor.execution.executor import (
    EXIT_DISK_FULL,
    EXIT_DONE,
    EXIT_OUT_OF_MEMORY,
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_STORE_SILENT,
    STOP_NAME,
    Exit,
    ExitKind,
    Launch,
)

KINDS = {
    EXIT_DONE: ExitKind.DONE,
    EXIT_STOPPED: ExitKind.STOPPED,
    EXIT_OUT_OF_MEMORY: ExitKind.OUT_OF_MEMORY,
    EXIT_DISK_FULL: ExitKind.DISK_FULL,
    EXIT_REFUSED: ExitKind.REFUSED,
    EXIT_STORE_SILENT: ExitKind.STORE_SILENT,
}


class InlineExecutor:
    """Runs `worker(folder) -> exit code` of the oldest waiting launch at each call of `wait`."""

    def __init__(self, worker: Callable[[str], int], slots: int = 1) -> None:
        self._worker = worker
        self._slots = slots
        self._waiting: dict[str, Launch] = {}
        self._ended: dict[str, Exit] = {}
        self._submitted = 0

    def submit(self, launch: Launch) -> str:
        if self.capacity() == 0:
            raise RuntimeError(f"all {self._slots} slots are taken")
        self._submitted += 1
        handle = f"{launch.iteration:06d}-{self._submitted}"
        (launch.folder / STOP_NAME).unlink(missing_ok=True)
        self._waiting[handle] = launch
        return handle

    def list(self) -> Sequence[str]:
        return sorted([*self._ended, *self._waiting], key=lambda handle: int(handle.split("-")[1]))

    def poll(self, handle: str) -> Exit | None:
        if handle in self._waiting:
            return None
        return self._ended.pop(handle)

    def stop(self, handle: str, urgent: bool = False) -> None:
        if handle in self._waiting:
            (self._waiting[handle].folder / STOP_NAME).touch()

    def capacity(self) -> int:
        return self._slots - len(self._waiting) - len(self._ended)

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> None:
        if self._ended or (also and select.select(also, [], [], 0)[0]):
            return
        if not self._waiting:
            select.select(also, [], [], timeout_s)
            return
        handle = next(iter(self._waiting))
        self._ended[handle] = self._run(self._waiting[handle])
        del self._waiting[handle]

    def close(self) -> None:
        self._waiting.clear()
        self._ended.clear()

    def _run(self, launch: Launch) -> Exit:
        started_s = time.monotonic()
        # The worker takes signals as if the process were its own.
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        detail = ""
        try:
            code = self._worker(str(launch.folder))
        except MemoryError:
            code = EXIT_OUT_OF_MEMORY
        except Exception:
            code, detail = 1, traceback.format_exc()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        kind = KINDS.get(code, ExitKind.CRASHED)
        return Exit(kind, code, None, detail, time.monotonic() - started_s, 0)
