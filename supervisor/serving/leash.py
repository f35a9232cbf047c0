"""Work in a thread of its own that can be called back: building and probing a model must end, whatever the file."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import onnxruntime

from supervisor.serving.errors import ApiError, refused

T = TypeVar("T")

CUT_GRACE_S = 1.0
_SHORTEST_LOOK_S = 0.01


class Leash:
    """What the runtime looks at between two operators: `cut` makes it leave with an error."""

    def __init__(self, on_cut: Callable[[], None] = lambda: None) -> None:
        self.session_options = onnxruntime.SessionOptions()
        self.run_options = onnxruntime.RunOptions()
        self.reason: str | None = None  # why it was cut, once it was
        self._on_cut = on_cut

    def cut(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.session_options.set_load_cancellation_flag(True)
        self.run_options.terminate = True
        self._on_cut()

    @contextlib.contextmanager
    def limited(self, cpu_s: float) -> Iterator[None]:
        """Cuts when the block has had so many seconds of a core. Waiting does not count: on a machine that is busy
        with something else no honest model is refused for that."""
        clock = time.pthread_getcpuclockid(threading.get_ident())
        end_s = time.clock_gettime(clock) + cpu_s
        done = threading.Event()

        def watch() -> None:
            while (left_s := end_s - time.clock_gettime(clock)) > 0:
                if done.wait(max(left_s, _SHORTEST_LOOK_S)):
                    return
            self.cut(f"not built and probed within {cpu_s:g} s of a core")

        watcher = threading.Thread(target=watch, name="leash", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


async def on_leash(work: Callable[[Leash], T], timeout_s: float, name: str) -> T:
    """`work` in a daemon thread. Raises Refused when it is not done in time, or was cut for another reason.

    A thread that does not even end when cut is left behind rather than waited for: it holds no lock of ours.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    cut: asyncio.Future[None] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    leash = Leash(lambda: tell(lambda: None if cut.done() else cut.set_result(None)))

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # None only where T allows it

    def run() -> None:
        result, error = None, None
        try:
            result = work(leash)
        except BaseException as raised:
            error = raised
            if isinstance(raised, ApiError):
                _let_go(raised)
        tell(lambda: settle(result, error))

    threading.Thread(target=run, name=name, daemon=True).start()
    waited: set[asyncio.Future[object]] = {done, cut}  # type: ignore[arg-type] # a future of T is one of object
    await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if done.done() and leash.reason is None:
        return done.result()
    leash.cut(f"not checked, built and probed within {timeout_s:g} s")
    finished, _ = await asyncio.wait({done}, timeout=CUT_GRACE_S)
    if finished:
        done.exception()  # whatever it says, it was too late
    raise refused("too_slow", str(leash.reason))


def _let_go(verdict: ApiError) -> None:
    """Whoever keeps a verdict as the reason keeps, in the frames that it came through, the file's bytes and the session
    with it otherwise."""
    error: BaseException | None = verdict
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    release_memory()


def release_memory() -> None:
    """Give freed memory back to the system: glibc keeps a replaced model's for ever otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
