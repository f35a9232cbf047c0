"""Writes what the log says into the tables of trainings and models, beside the loop: the loop never waits for it.

What is not written yet is found in the log, whose lines behind the last one in the table are taken in their order: an
outage, a crash or a new database costs nothing but time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from supervisor.errors import IncumbentError
from supervisor.experience.books import Books
from supervisor.experience.opening import books_of
from supervisor.experience.rows import MICROSECONDS
from supervisor.experience.store import ExperienceStore, StoreDownError
from supervisor.journal.log import highest_iteration
from supervisor.journal.log_scan import walk_log
from supervisor.record import Record

BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
CLOSE_LIMIT_S = 5.0
MOST_WAITING = 100

OpenStore = Callable[[], ExperienceStore | None]
Report = Callable[[str, str], None]
"""Called with (event, reason) on the bookkeeper's thread; must not raise."""


class Bookkeeper:
    """A thread with a connection of its own. `open_store` gives None where there is no store (yet)."""

    def __init__(self, run_dir: Path, run_id: str, folder_id: str, open_store: OpenStore, report: Report) -> None:
        self._run_dir = run_dir
        self._run_id = run_id
        self._folder_id = folder_id
        self._open_store = open_store
        self._report = report
        self._news = threading.Condition()
        self._behind = True
        self._lines: deque[Record] = deque(maxlen=MOST_WAITING)  # the newest; the log has the others
        self._closing = False
        self._failures = 0
        self._store: ExperienceStore | None = None
        self._books: Books | None = None
        self._refused = False  # for good: another folder writes this run
        self._thread = threading.Thread(target=self._work, name="bookkeeper", daemon=True)
        self._thread.start()

    def committed(self, record: Record) -> None:
        """The log has a further line. Returns at once."""
        with self._news:
            self._lines.append(record)
            self._behind = True
            self._news.notify()

    def close(self, timeout_s: float = CLOSE_LIMIT_S) -> None:
        """Write what is left, once; what cannot be written is found by the next start."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._news:
                behind, self._behind = self._behind, False
            if behind and not self._refused:
                self._round()
            with self._news:
                if self._closing and (self._failures or not self._behind):
                    break
                if not self._behind or self._failures:
                    self._news.wait(BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1] if self._failures else None)
        if self._store is not None:
            self._store.close()

    def _round(self) -> None:
        try:
            self._catch_up()
        except StoreDownError as error:
            self._close_store()
            self._failures += 1
            with self._news:
                self._behind = True
            if self._failures == 1:
                self._report("books_wait", f"{error}; the log has what is to be written, and it is tried again")
        except IncumbentError as error:
            self._close_store()
            self._refused = True
            self._report("books_refused", str(error))
        except Exception as error:  # whatever it is: the search must not end because of it
            self._close_store()
            self._refused = True
            self._report("books_refused", f"{type(error).__name__}: {error}; the next start tries again")
        else:
            if self._failures:
                self._report("books_written", "the tables of trainings and models are up to date again")
            self._failures = 0

    def _catch_up(self) -> None:
        if self._store is None:
            self._store = self._opened()
            if self._store is None:
                return
            self._books = books_of(self._store)
            self._books.claim(self._run_id, self._folder_id, int(time.time() * MICROSECONDS))
        assert self._books is not None
        last = self._books.last(self._run_id)
        with self._news:
            lines = [line for line in self._lines if line.iteration > last]
        if lines and lines[0].iteration <= last + 1:
            self._write(lines)
        else:
            walk_log(self._run_dir, self._write, lambda text: highest_iteration(text) > last)

    def _opened(self) -> ExperienceStore | None:
        """Whatever is wrong with the database as a whole may be put right meanwhile. Raises StoreDownError."""
        try:
            return self._open_store()
        except IncumbentError as error:
            raise StoreDownError(str(error)) from error

    def _write(self, lines: Iterable[Record]) -> None:
        assert self._books is not None
        for line in lines:
            self._books.write(line)

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = self._books = None
