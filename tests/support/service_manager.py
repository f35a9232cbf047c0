"""A service manager's end of the notify protocol: a real datagram socket, and what arrived at it."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

WATCHDOG_S = 1.0


@dataclass
class ServiceManager:
    """Listens at `address`, a path or @name. Messages are dictionaries, in their order."""

    address: str
    messages: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path) -> ServiceManager:
        return cls(str(folder / "notify"))

    def __enter__(self) -> ServiceManager:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if self.address[0] == "@" else self.address)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    @property
    def environ(self) -> dict[str, str]:
        """What it gives to a service that it watches."""
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}

    def hears(self, fits: Callable[[dict[str, str]], bool], timeout_s: float = 60.0) -> dict[str, str] | None:
        """The first message from now on that fits; None when none came in time."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left_s)[0]:
                break
            message = self._take()
            if fits(message):
                return message
        return None

    def hears_beats(self, count: int) -> bool:
        return all(self.hears(is_beat) is not None for _ in range(count))

    def hears_status(self, part: str) -> str:
        """The first status from now on that holds the part."""
        message = self.hears(lambda message: part in message.get("STATUS", ""))
        assert message is not None, f"no status with {part!r}: {self.messages[-5:]}"
        return message["STATUS"]

    def forget(self) -> None:
        """Whatever has arrived by now is of no interest."""
        while select.select([self._socket], [], [], 0)[0]:
            self._take()

    def _take(self) -> dict[str, str]:
        text = self._socket.recv(os.sysconf("SC_PAGE_SIZE")).decode()
        message = dict(line.split("=", 1) for line in text.splitlines())
        self.messages.append(message)
        return message


def is_beat(message: dict[str, str]) -> bool:
    return message.get("WATCHDOG") == "1"


def is_ready(message: dict[str, str]) -> bool:
    return message.get("READY") == "1"


def is_stopping(message: dict[str, str]) -> bool:
    return message.get("STOPPING") == "1"
