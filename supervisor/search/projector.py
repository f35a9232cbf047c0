"""Keeps the dashboard's database up to date beside the loop, on a thread of its own."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

from supervisor.config.settings import Settings
from supervisor.contract import TrialSpec
from supervisor.errors import IncumbentError
from supervisor.record import Record
from supervisor.search.projection import SQLITE_FILES, STUDY_DB, StudyProjection, study_db_url
from supervisor.search.space import Space

PRIMARY_CODE = 0xFF  # SQLite's codes say more in their upper bits
OF_THE_MACHINE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
)
MOST_WAITING = 1000  # of what was reported and is not written yet; the log has the rest
RETRY_S = 30.0  # between two tries of a database that cannot be written
CLOSE_LIMIT_S = 10.0  # at a normal end; what is not written by then is written at the next start


class _Everything(Enum):
    """What may have to be written: the whole log."""

    OF_THE_LOG = 0


_Message = TrialSpec | Record | _Everything


class Projector:
    """Tells the database what the loop reports; no call waits for it and none fails.

    `report(event, reason)` says, once per outage, that the database cannot be written, and that it is written again.
    A database in the run folder that was deleted, replaced or damaged is built anew from the log. While one cannot be
    written, what is reported is not gathered: the log has it.
    """

    def __init__(
        self,
        run_dir: Path,
        settings: Settings,
        run_id: str,
        report: Callable[[str, str], None],
        spaces: Mapping[str, Space],
    ) -> None:
        given = settings.search.storage_url
        self._file = None if given is not None else run_dir / STUDY_DB
        self._url = study_db_url(run_dir) if given is None else given.get_secret_value()
        self._run_id = run_id
        self._report = report
        self._spaces = spaces
        self._run_dir = run_dir
        self._running: dict[int, TrialSpec] = {}
        self._overrun = False  # more came in than could be written
        self._not_before_s = float("-inf")  # while it fails, each try may take long
        self._projection: StudyProjection | None = None
        self._inode: int | None = None
        self._failing = False
        self._damaged = self._discarded = False
        self._messages = queue.SimpleQueue[_Message | None]()
        self._thread = threading.Thread(target=self._work, name="projector", daemon=True)
        self._thread.start()

    def catch_up(self) -> None:
        """Bring it to what the log says."""
        self._messages.put(_Everything.OF_THE_LOG)

    def running(self, spec: TrialSpec) -> None:
        self._report_to_thread(spec)

    def finished(self, record: Record) -> None:
        """Its line stands in the log already."""
        self._report_to_thread(record)

    def close(self, timeout_s: float = CLOSE_LIMIT_S) -> None:
        """Write what is waiting, for no longer than `timeout_s`; who stops in a hurry gives less."""
        self._messages.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._report("dashboard_behind", f"{self._place} is still being written; the next start completes it")

    @property
    def _place(self) -> str:
        return str(self._file) if self._file is not None else "the database of search.storage_url"

    def _report_to_thread(self, message: TrialSpec | Record) -> None:
        if self._messages.qsize() < MOST_WAITING:
            self._messages.put(message)
        else:
            self._overrun = True

    def _work(self) -> None:
        while (message := self._messages.get()) is not None:
            if isinstance(message, TrialSpec):
                self._running[message.iteration] = message
            elif isinstance(message, Record):
                self._running.pop(message.iteration, None)
            if self._overrun and self._messages.empty():
                self._overrun = False
                message = _Everything.OF_THE_LOG
            if not self._failing or time.monotonic() >= self._not_before_s:
                self._try(message)
        if self._failing:
            self._try(_Everything.OF_THE_LOG)
        self._drop()

    def _try(self, message: _Message) -> None:
        if not self._written(message) and not self._written(_Everything.OF_THE_LOG):
            self._discard_damaged_file()
            self._written(_Everything.OF_THE_LOG)
        self._not_before_s = time.monotonic() + RETRY_S

    def _written(self, message: _Message) -> bool:
        """Whether the database now holds the message."""
        try:
            if self._projection is None or self._replaced() or isinstance(message, _Everything):
                self._write_all()
            elif isinstance(message, TrialSpec):
                self._projection.running(message)
            else:
                self._projection.finished(message)
        except Exception as error:  # whatever a database does, the run goes on
            self._drop()
            self._damaged = not _is_of_the_machine(error)
            self._say_failing(error)
            return False
        self._discarded = False
        if self._failing:
            self._failing = False
            self._report("dashboard_written", f"{self._place} is written again")
        return True

    def _write_all(self) -> None:
        self._drop()
        self._projection = StudyProjection(self._url, self._run_id, self._spaces, shared=self._file is None)
        self._inode = self._inode_now()
        self._projection.catch_up(self._run_dir)
        ended = self._projection.upto
        self._running = {iteration: spec for iteration, spec in self._running.items() if iteration > ended}
        for spec in self._running.values():
            self._projection.running(spec)

    def _replaced(self) -> bool:
        """SQLite goes on writing into a file that was deleted or renamed, where nobody sees it."""
        return self._file is not None and self._inode_now() != self._inode

    def _inode_now(self) -> int | None:
        if self._file is None or not self._file.exists():
            return None
        return self._file.stat().st_ino

    def _drop(self) -> None:
        projection, self._projection = self._projection, None
        if projection is not None:
            projection.close()

    def _say_failing(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            # an error of a database may quote its URL, and with it the password
            self._report(
                "dashboard_failing", f"{self._place} cannot be written ({type(error).__name__}); the run goes on"
            )

    def _discard_damaged_file(self) -> None:
        """Once per outage: what fails again with a new file is no damage of the file."""
        if self._file is not None and self._damaged and not self._discarded:
            self._discarded = True
            for name in SQLITE_FILES:
                self._file.with_name(name).unlink(missing_ok=True)


def _is_of_the_machine(error: BaseException | None) -> bool:
    """Whether a locked file, a full disk, a log that cannot be read or the like is behind it: that is no damage."""
    while error is not None:
        if isinstance(error, OSError | IncumbentError):
            return True
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in OF_THE_MACHINE
        error = error.__cause__ or error.__context__
    return False
