"""Work in a thread of its own that can be called back: building and probing a model must end, whatever the file."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import onnxruntime

from supervisor.serving.errors import refused

T = TypeVar("T")

CUT_GRACE_S = 5.0


class Leash:
    """What the runtime looks at between two operators: `cut` makes it leave with an error."""

    def __init__(self) -> None:
        self.session_options = onnxruntime.SessionOptions()
        self.run_options = onnxruntime.RunOptions()

    def cut(self) -> None:
        self.session_options.set_load_cancellation_flag(True)
        self.run_options.terminate = True


async def on_leash(work: Callable[[Leash], T], timeout_s: float, name: str) -> T:
    """`work` in a daemon thread. Raises Refused when it is not done in time.

    A thread that does not even end when cut is left behind rather than waited for: it holds no lock of ours.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    leash = Leash()

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
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    finished, _ = await asyncio.wait({done}, timeout=timeout_s)
    if finished:
        return done.result()
    leash.cut()
    finished, _ = await asyncio.wait({done}, timeout=CUT_GRACE_S)
    if finished:
        done.exception()  # whatever it says, it was too late
    raise refused("too_slow", f"not checked, built and probed within {timeout_s:g} s")
