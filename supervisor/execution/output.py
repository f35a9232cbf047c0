"""What a trial prints: the beginning and the end are kept, a flood in between is not."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from supervisor.journal.durable import FULL

HEAD_BYTES = 256 * 1024
TAIL_BYTES = 64 * 1024


class CappedLog:
    """A file of at most HEAD_BYTES + TAIL_BYTES and one line between them. The head can be read while it grows.

    A full disk loses lines of the file, never the trial: `tail` is kept in memory.
    """

    def __init__(self, path: Path, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._head_left = head_bytes
        self._tail_bytes = tail_bytes
        self._tail = bytearray()  # the latest bytes, whether the head took them or not
        self._beyond = 0  # bytes after the head
        self._stream = _opened(path)

    def feed(self, data: bytes) -> None:
        head = data[: self._head_left]
        self._head_left -= len(head)
        self._beyond += len(data) - len(head)
        self._write(head)
        self._tail += data[-self._tail_bytes :]
        if len(self._tail) > self._tail_bytes:
            del self._tail[: len(self._tail) - self._tail_bytes]

    def tail(self, characters: int) -> str:
        """The end of all that was printed."""
        return self._tail.decode(errors="replace")[-characters:]

    def forget(self) -> None:
        """Close the file and write nothing: in a fork, whose original goes on with the log."""
        self._stream.close()

    def close(self) -> None:
        """Write the end after the head."""
        left_out = self._beyond - self._tail_bytes
        if left_out > 0:
            self._write(b"\n... %d bytes left out ...\n" % left_out)
        if self._beyond:
            self._write(bytes(self._tail[-self._beyond :]))
        self._stream.close()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(data)


def _opened(path: Path) -> io.FileIO:
    try:
        return path.open("wb", buffering=0)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return Path(os.devnull).open("wb", buffering=0)
