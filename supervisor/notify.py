"""What the service manager hears: that we are ready, one line of status, and a beat for every turn that gets done.

The protocol is sd_notify(3), lines of NAME=value as a datagram to $NOTIFY_SOCKET; silent where nobody listens. Nothing
here runs beside the loop: a loop that hangs sends no beat, and is started again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

SOCKET_NAME = "NOTIFY_SOCKET"
WATCHDOG_NAME = "WATCHDOG_USEC"
WATCHDOG_PID_NAME = "WATCHDOG_PID"
BEATS_PER_TIMEOUT = 3
STATUS_CHARACTERS = 400


class Notifier:
    """Speaks for one service. `address` None is nobody to speak to, `beat_s` None is nobody who counts beats."""

    def __init__(
        self,
        address: str | None = None,
        beat_s: float | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        # A leading @ stands for the zero byte of an abstract name; other addresses are of no family that we speak.
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        if address is not None and not address.startswith(("/", "@")):
            self._address = None
        self._beat_s = beat_s
        self._monotonic_s = monotonic_s
        self._beaten_s = float("-inf")
        self._status = ""
        self._ready = False

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """As the service manager asks for it. The variables are taken out: no child shall speak for the service.

        A watchdog that waits for another process (WATCHDOG_PID) gets no beat from us.
        """
        address = environ.pop(SOCKET_NAME, None)
        microseconds = environ.pop(WATCHDOG_NAME, "")
        pid = environ.pop(WATCHDOG_PID_NAME, "")
        watched = microseconds.isdecimal() and int(microseconds) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(microseconds) / 1e6 / BEATS_PER_TIMEOUT if watched else None)

    def starting(self, status: str) -> None:
        """Not ready yet. The beat is for a service that was ready before and is started again below its script."""
        self._tell(status, beat=True)

    def turn(self, status: str) -> None:
        """One turn of the loop is done. The first says that the service is ready."""
        if self._tell(status, "" if self._ready else "READY=1"):
            self._ready = True

    def beat(self) -> None:
        """A turn takes long, but gets on."""
        self._tell(self._status)

    def stopping(self, status: str) -> None:
        """We leave, and it is no failure."""
        self._tell(status, "STOPPING=1")

    def _tell(self, status: str, state: str = "", beat: bool = False) -> bool:
        """Whether everything that was due has been heard; what was not is due again."""
        if self._address is None:
            return True
        status = " ".join(status.split())[:STATUS_CHARACTERS]
        now_s = self._monotonic_s()
        beat = self._beat_s is not None and (beat or now_s - self._beaten_s >= self._beat_s)
        lines = [
            state,
            f"STATUS={status}" if status != self._status else "",
            "WATCHDOG=1" if beat else "",
        ]
        text = "\n".join(line for line in lines if line)
        if text and not self._send(text):
            return False
        self._status = status
        if beat:
            self._beaten_s = now_s
        return True

    def _send(self, text: str) -> bool:
        """A manager that does not listen, or not now, never holds us up."""
        assert self._address is not None
        # What a path holds that is no text (undecodable bytes) is shown as question marks.
        datagram = text.encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(datagram, self._address)
        except OSError:
            return False
        return True
