"""Requests for one model that arrive in one turn of the event loop run as one batch.

Whatever a request waits for, it is answered: by its rows of the outputs, or by why there are none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from supervisor.serving.batch_run import run_batch
from supervisor.serving.errors import ApiError
from supervisor.serving.served import Served
from supervisor.serving.session import Arrays

if TYPE_CHECKING:
    from supervisor.serving.watched import Watched

INLINE_S = 0.001
"""A batch that takes longer runs in a thread, so that the event loop goes on reading and answering."""

RUNNING_THREADS = 2

_log = logging.getLogger(__name__)


class Waiting(Protocol):
    """A request whose inputs are read. Exactly one of `answer` and `fail` is called, once, on the event loop."""

    @property
    def inputs(self) -> Arrays:
        """By name, the first dimension the rows."""

    @property
    def rows(self) -> int: ...

    @property
    def came_s(self) -> float:
        """`time.monotonic()` when it was read."""

    @property
    def expires_s(self) -> float:
        """`time.monotonic()` after which nobody waits any more."""

    def answer(self, served: Served, outputs: Arrays) -> None: ...

    def fail(self, error: ApiError) -> None: ...


class Batcher:
    """Runs what waits. All methods belong to one event loop."""

    def __init__(self, max_waiting: int, max_rows: int) -> None:
        self._max_waiting, self._max_rows = max_waiting, max_rows
        self._threads: ThreadPoolExecutor | None = None
        self._due: list[Served] = []  # those whose turn comes at the end of this turn of the loop
        self.waiting = 0
        self.refused = 0  # requests that found no room

    def submit(self, served: Served, request: Waiting) -> None:
        """Raises ApiError (503) where too many wait already."""
        if self.waiting >= self._max_waiting:
            self.refused += 1
            raise ApiError(503, "overloaded", "too many requests at once; try again", {"Retry-After": "1"})
        self.waiting += 1
        if not served.queue and not served.running:
            if not self._due:
                asyncio.get_running_loop().call_soon(self._turns)
            self._due.append(served)
        served.queue.append(request)

    def close(self) -> None:
        """Threads that run end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _turns(self) -> None:
        due, self._due = self._due, []
        for served in due:
            try:
                self._turn(served)
            except Exception:  # a fault of ours must not leave the other models' requests waiting
                _log.exception("a batch could not be run")

    def _turn(self, served: Served) -> None:
        """Run all that waits for one model, a batch at a time."""
        while served.queue:
            batch = self._next_batch(served)
            if not batch:
                continue
            rows = batch[0].rows if len(batch) == 1 else sum(request.rows for request in batch)
            if served.session.seconds_per_run + rows * served.session.seconds_per_row > INLINE_S:
                self._run_aside(served, batch)
                return
            self._settle(served, batch, run_batch(served, [request.inputs for request in batch]))

    def _next_batch(self, served: Served) -> list[Waiting]:
        """The oldest that wait, as many as fit; those that nobody waits for any more are told so."""
        now_s, rows, taken = time.monotonic(), 0, 0
        batch: list[Waiting] = []
        for request in served.queue:
            if batch and rows + request.rows > self._max_rows:
                break
            taken += 1
            if request.expires_s < now_s:
                self._fail(served, request, ApiError(504, "too_late", "it waited longer than it was to; try again"))
                continue
            batch.append(request)
            rows += request.rows
        del served.queue[:taken]
        return batch

    def _run_aside(self, served: Served, batch: Sequence[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        served.running = True

        def ended(results: Sequence[Arrays | ApiError]) -> None:
            served.running = False
            self._settle(served, batch, results)
            self._turn(served)

        def work() -> None:
            results = run_batch(served, [request.inputs for request in batch])
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(ended, results)

        self._thread_pool().submit(work)

    def _settle(self, served: Served, batch: Sequence[Waiting], results: Sequence[Arrays | ApiError]) -> None:
        now_s = time.monotonic()
        shadow = served.shadow
        for request, result in zip(batch, results, strict=True):
            if not isinstance(result, ApiError):
                self._answer(served, request, result, now_s)
                if shadow is not None:
                    shadow.offer(served, request.inputs)
            elif served.watched is None or served.watched.may_stand_in(result) is None:
                self._fail(served, request, result)
            else:
                self._stand_in(served, served.watched, request, result)

    def _stand_in(self, served: Served, watched: Watched, request: Waiting, error: ApiError) -> None:
        """The version before is asked for what the new one failed, in a thread: failing takes no time of the others."""

        def ended(by: Served, result: Arrays | ApiError) -> None:
            if isinstance(result, ApiError):
                self._fail(served, request, result)
                return
            watched.stood_in(request.inputs, error)
            self._answer(by, request, result, time.monotonic())

        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                found = watched.instead(served, request.inputs, error)
            except Exception:  # a fault of ours: the request is answered all the same
                _log.exception("the version before could not be asked")
                found = served, error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(ended, *found)

        self._thread_pool().submit(work)

    def _answer(self, served: Served, request: Waiting, outputs: Arrays, now_s: float) -> None:
        self.waiting -= 1
        served.counts.done(now_s - request.came_s)
        try:
            request.answer(served, outputs)
        except Exception:  # a fault of ours must not leave those behind it waiting
            _log.exception("an answer could not be given")
            request.fail(ApiError(500, "internal_error", "a fault of the server; its console says more"))

    def _thread_pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(RUNNING_THREADS, "inference")
        return self._threads

    def _fail(self, served: Served, request: Waiting, error: ApiError) -> None:
        self.waiting -= 1
        served.counts.failed += 1
        request.fail(error)
