"""What the disk itself takes for what a rollback makes durable: a line more in a file, and the folder's entries."""

from __future__ import annotations

import os
import time
from pathlib import Path

LINE = b"x" * 299 + b"\n"


class Disk:
    """Appends to a file of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._path = folder, folder / "lines"
        self.took_ms: list[float] = []

    def append(self) -> None:
        begun_s = time.monotonic()
        for path, flags in ((self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), (self._folder, os.O_DIRECTORY)):
            descriptor = os.open(path, flags, 0o644)
            try:
                if path == self._path:
                    os.write(descriptor, LINE)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self.took_ms.append(1e3 * (time.monotonic() - begun_s))
