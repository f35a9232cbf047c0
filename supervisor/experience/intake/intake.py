"""Experiences from a request's body to the answer that they are durable, beside an event loop that never waits.

Bodies are read in one thread, one after the other, and written in another. Nothing here is kept for a store that is
down: whoever sent it has it still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from supervisor.contract import Interface
from supervisor.experience.intake.form import Forms
from supervisor.experience.intake.options import IntakeOptions
from supervisor.experience.intake.reading import parcel_of, reasons
from supervisor.experience.intake.writer import NoRoomError, Writer
from supervisor.experience.rows import MICROSECONDS
from supervisor.experience.store import ExperienceStore, Stored

MOST_BODIES = 4
"""As many of the largest may wait to be read."""


@dataclass(frozen=True)
class Taken:
    """What became of a body; `reasons` is how many rows were refused for what."""

    stored: Stored
    reasons: Mapping[str, int]


class Intake:
    def __init__(
        self,
        options: IntakeOptions,
        open_store: Callable[[], ExperienceStore],
        interface_of: Callable[[str], Interface | None],
        announce: Callable[[str], None],
    ) -> None:
        """`interface_of` tells that of a target's loaded model; it and `announce` are called in other threads."""
        self.options = options
        self._forms = Forms(options.targets, interface_of)
        self.writer = Writer(open_store, self._forms.look, options.max_waiting_rows, options.commit_ms / 1e3, announce)
        self._reading = ThreadPoolExecutor(1, "experience-reader")
        self._held_bytes = 0

    async def take(self, body: bytes, content_type: str, client: str, key: str) -> Taken:
        """Returns when it is durable. `content_type` is one of `reading.CONTENT_TYPES`.

        Raises UnreadableError, TooManyRowsError, NoRoomError, StoreDownError.
        """
        most_bytes = MOST_BODIES * self.options.max_body_kb * 1024
        if self._held_bytes + len(body) > most_bytes:
            raise NoRoomError(f"{self._held_bytes} bytes wait to be read, at most {most_bytes}")
        self._held_bytes += len(body)
        try:
            loop = asyncio.get_running_loop()
            waiting, told = await loop.run_in_executor(self._reading, self._read, body, content_type, client, key)
        finally:
            self._held_bytes -= len(body)
        return Taken(await asyncio.wrap_future(waiting), told)

    def _read(self, body: bytes, content_type: str, client: str, key: str) -> tuple[Future[Stored], dict[str, int]]:
        self.writer.opened()
        now_us = time.time_ns() * MICROSECONDS // 10**9
        parcel = parcel_of(body, content_type, self._forms, now_us, self.options.max_waiting_rows, client, key)
        return self.writer.offer(parcel), reasons(parcel)

    def close(self) -> None:
        """Everything that was taken is durable on return."""
        self._reading.shutdown()
        self.writer.close()
