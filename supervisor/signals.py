"""SIGINT and SIGTERM as a wish to stop that wakes the loop; a second SIGINT leaves at once."""

from __future__ import annotations

import os
import signal
from types import FrameType

EXIT_INTERRUPTED = 130  # a second Ctrl+C: nothing committed is lost, trials in flight go on from their last save


class StopAsked(Exception):  # noqa: N818 - no error: what took long is left as if it had not been begun
    """Raised out of a long wait when somebody wants us to leave."""


class Signals:
    """Installed once, in the main thread. `descriptor` becomes readable when a signal arrives, until `close`."""

    def __init__(self) -> None:
        self.stop_asked = False
        self._interrupts = 0
        self._installed = False
        self.descriptor, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._installed = True
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def close(self) -> None:
        """Nobody waits for the descriptor any more. The handlers stay: the process is about to end in its own way."""
        if self._installed:
            signal.set_wakeup_fd(-1)
        os.close(self.descriptor)
        os.close(self._writer)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.stop_asked = True
        if signum == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                # Trials notice that their parent is gone and end; what they saved is taken up at the next start.
                os._exit(EXIT_INTERRUPTED)
