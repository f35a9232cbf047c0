"""Makes the machine refuse what the fork server's first four trials need: a pipe, a process twice, and in the trial
its first thread."""

import errno
import os
import threading
from collections.abc import Callable
from typing import Any


def _refusing(call: Callable[[], Any], *answers: int | None) -> Callable[[], Any]:
    """The call, that fails with these error numbers first; None lets one through."""
    left = list(answers)

    def refuse() -> Any:
        number = left.pop(0) if left else None
        if number is not None:
            raise OSError(number, os.strerror(number))
        return call()

    return refuse


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def _fork() -> int:
    pid = _real_fork()
    if pid == 0 and not _forked:
        threading.Thread.start = _no_thread  # type: ignore[method-assign]
    _forked.append(pid)
    return pid


_real_fork = os.fork
_forked: list[int] = []
os.fork = _refusing(_fork, errno.EAGAIN, errno.ENOMEM)
os.pipe = _refusing(os.pipe, None, errno.EMFILE)  # the server's own comes first
