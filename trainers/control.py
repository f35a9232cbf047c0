"""The trial's line to its supervisor: the folder, and nothing else. A file `stop` asks, a file `heartbeat` answers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

from supervisor.journal import durable
from trainers.target import StopRequested

STOP_NAME = "stop"
HEARTBEAT_NAME = "heartbeat"
BEAT_INTERVAL_S = 0.5


class FolderControl:
    """Asked to stop by the file `stop` or by SIGTERM, whichever comes first."""

    def __init__(self, folder: Path) -> None:
        self._stop = folder / STOP_NAME
        self._heartbeat = folder / HEARTBEAT_NAME
        self._terminated = False
        self._last_beat_s = float("-inf")

    def listen(self) -> None:
        """Take SIGTERM as a request to stop. SIGINT is the supervisor's to handle."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, signum: int, frame: FrameType | None) -> None:
        self._terminated = True

    @property
    def stop_requested(self) -> bool:
        return self._terminated or self._stop.exists()

    def beat(self, step: int) -> None:
        """Touch the heartbeat, at most twice a second. The step stands in it for `incumbent status`, if the disk has
        room for it."""
        now_s = time.monotonic()
        if now_s - self._last_beat_s < BEAT_INTERVAL_S:
            return
        self._last_beat_s = now_s
        try:
            descriptor = os.open(self._heartbeat, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            try:
                os.utime(descriptor)
                os.truncate(descriptor, os.write(descriptor, f"{step}\n".encode()))
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in durable.FULL:
                raise

    def check(self) -> None:
        if self.stop_requested:
            raise StopRequested
