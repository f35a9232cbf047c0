"""The thread that owns the store's connection: takes parcels from a bounded queue, and commits what waits together."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from supervisor.errors import IncumbentError
from supervisor.experience.store import ExperienceStore, Parcel, Stored, StoreDownError

ENOUGH_ROWS = 256
"""A commit of so many is not worth waiting for more."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0

_log = logging.getLogger(__name__)


class NoRoomError(Exception):
    """So many rows wait already that these must come again later."""


@dataclass
class Counts:
    """Since the start. Parcels that came again count nowhere else."""

    rows: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)  # by reason
    parcels: int = 0
    repeated: int = 0
    commits: int = 0
    commit_s: float = 0.0
    failures: int = 0  # of the store


@dataclass
class _Waiting:
    parcel: Parcel
    rows: int
    came_s: float
    stored: Future[Stored] = field(default_factory=Future)
    is_told: bool = False


class Writer:
    """Begins to work with the first call of `opened`, so that who never writes needs no store."""

    def __init__(
        self,
        open_store: Callable[[], ExperienceStore],
        look: Callable[[ExperienceStore], None],
        max_waiting_rows: int,
        commit_s: float,
        announce: Callable[[str], None],
    ) -> None:
        """`look` is shown the store whenever it was opened. `commit_s`: how long a few rows wait for company."""
        self._open_store, self._look, self._announce = open_store, look, announce
        self._max_waiting_rows, self._commit_s = max_waiting_rows, commit_s
        self._thread: threading.Thread | None = None
        self._news = threading.Condition()
        self._queue: list[_Waiting] = []
        self._is_tried = self._is_hurrying = self._is_closing = False
        self.waiting_rows = 0  # what is being committed among them
        self.down: str | None = None  # why the store cannot be written
        self.counts = Counts()

    def opened(self) -> None:
        """Return once the store is open. Raises StoreDownError where it does not open."""
        with self._news:
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._work, name="experience-writer", daemon=True)
                self._thread.start()
            self._news.wait_for(lambda: self._is_tried or self._is_closing)
            self._check()

    def offer(self, parcel: Parcel) -> Future[Stored]:
        """Done once the parcel is durable; it may raise StoreDownError. Raises NoRoomError, StoreDownError."""
        waiting = _Waiting(parcel, max(1, parcel.rows + len(parcel.refused)), time.monotonic())
        with self._news:
            self._check()
            if self.waiting_rows and self.waiting_rows + waiting.rows > self._max_waiting_rows:
                raise NoRoomError(f"{self.waiting_rows} rows wait to be stored, at most {self._max_waiting_rows}")
            self._queue.append(waiting)
            self.waiting_rows += waiting.rows
            self._news.notify_all()
        return waiting.stored

    def hurry(self) -> None:
        """Nobody waits for company any more."""
        with self._news:
            self._is_hurrying = True
            self._news.notify_all()

    def close(self) -> None:
        """Commit what waits, and return."""
        with self._news:
            self._is_closing = self._is_hurrying = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _check(self) -> None:
        if self.down is not None:
            raise StoreDownError(self.down)
        if self._is_closing:
            raise StoreDownError("the server is about to stop")

    # in the thread

    def _work(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._is_closing or self._queue:
            try:
                with contextlib.closing(self._open_store()) as store:
                    self._look(store)
                    self._is_up()
                    wait_s = FIRST_WAIT_S
                    self._serve(store)
            except Exception as error:  # whatever it is, it must not end this thread
                if not isinstance(error, IncumbentError):
                    _log.exception("the experience store met a fault")
                self._is_down(str(error))
                with self._news:
                    self._news.wait_for(lambda: self._is_closing, wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _serve(self, store: ExperienceStore) -> None:
        """Until everything is committed and nothing comes any more. Raises StoreDownError."""
        while group := self._group():
            try:
                self._commit(store, group)
            finally:
                self._refuse(group, StoreDownError("the experience store went down"))  # whoever has no answer by now

    def _group(self) -> list[_Waiting]:
        """What is to be committed together; none when it is time to leave."""
        with self._news:
            self._news.wait_for(lambda: self._queue or self._is_closing)
            if self._queue:
                left_s = self._queue[0].came_s + self._commit_s - time.monotonic()
                self._news.wait_for(lambda: self.waiting_rows >= ENOUGH_ROWS or self._is_hurrying, left_s)
            group, self._queue = self._queue, []
            return group

    def _commit(self, store: ExperienceStore, group: Sequence[_Waiting]) -> None:
        began_s = time.monotonic()
        try:
            told = store.write([waiting.parcel for waiting in group])
        except IncumbentError:
            raise
        except Exception as error:
            if len(group) == 1:
                _log.exception("a parcel of %d rows could not be stored", group[0].rows)
                self._end(group[0], error)
                return
            for waiting in group:  # one that no store can take must not take the others with it
                self._commit(store, [waiting])
            return
        self.counts.commits += 1  # before anybody is answered, for every answer says how things stand
        self.counts.commit_s += time.monotonic() - began_s
        for waiting, stored in zip(group, told, strict=True):
            self._count(waiting.parcel, stored)
            self._end(waiting, stored)

    def _count(self, parcel: Parcel, stored: Stored) -> None:
        if stored.repeated:
            self.counts.repeated += 1
            return
        self.counts.parcels += 1
        self.counts.rows += stored.rows
        self.counts.quarantined.update(row.reason for row in parcel.refused)

    def _refuse(self, group: Sequence[_Waiting], error: Exception) -> None:
        for waiting in group:
            if not waiting.is_told:
                self._end(waiting, error)

    def _end(self, waiting: _Waiting, answer: Stored | Exception) -> None:
        waiting.is_told = True
        with self._news:
            self.waiting_rows -= waiting.rows
        with contextlib.suppress(InvalidStateError):  # whoever asked has gone
            if isinstance(answer, Stored):
                waiting.stored.set_result(answer)
            else:
                waiting.stored.set_exception(answer)

    def _is_up(self) -> None:
        with self._news:
            was, self.down, self._is_tried = self.down, None, True
            self._news.notify_all()
        if was is not None:
            self._announce("the experience store takes rows again")

    def _is_down(self, why: str) -> None:
        """Nothing is kept here: whoever sent it has it still, and sends it again."""
        self.counts.failures += 1
        with self._news:
            was, self.down, self._is_tried = self.down, why, True
            group, self._queue = self._queue, []
            self._news.notify_all()
        self._refuse(group, StoreDownError(why))
        if was != why:
            self._announce(f"experiences are refused: {why}")
