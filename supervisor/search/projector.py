"""Keeps the dashboard's database up to date beside the loop, on a thread of its own."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.config.settings import Settings
from supervisor.contract import TrialSpec
from supervisor.record import Record
from supervisor.search.projection import SQLITE_FILES, STUDY_DB, StudyProjection, study_db_url
from supervisor.search.space import Space

CLOSE_LIMIT_S = 10.0  # at a normal end; what is not written by then is written at the next start


@dataclass(frozen=True)
class _CatchUp:
    records: tuple[Record, ...]


@dataclass
class _Truth:
    """What the database should hold: kept so that it can be written anew at any time."""

    records: list[Record] = field(default_factory=list)
    running: dict[int, TrialSpec] = field(default_factory=dict)

    def take(self, message: _CatchUp | TrialSpec | Record) -> None:
        if isinstance(message, _CatchUp):
            self.records = list(message.records)
        elif isinstance(message, TrialSpec):
            self.running[message.iteration] = message
        else:
            self.records.append(message)
            self.running.pop(message.iteration, None)


class Projector:
    """Tells the database what the loop reports; no call waits for it and none fails.

    `report(event, reason)` says, once per outage, that the database cannot be written, and that it is written again.
    A database in the run folder that was deleted, replaced or damaged is built anew from the log.
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
        self._truth = _Truth()
        self._projection: StudyProjection | None = None
        self._inode: int | None = None
        self._failing = False
        self._messages = queue.SimpleQueue[_CatchUp | TrialSpec | Record | None]()
        self._thread = threading.Thread(target=self._work, name="projector", daemon=True)
        self._thread.start()

    def catch_up(self, records: list[Record]) -> None:
        """The log as it is at the start."""
        self._messages.put(_CatchUp(tuple(records)))

    def running(self, spec: TrialSpec) -> None:
        self._messages.put(spec)

    def finished(self, record: Record) -> None:
        self._messages.put(record)

    def close(self, timeout_s: float = CLOSE_LIMIT_S) -> None:
        """Write what is waiting, for no longer than `timeout_s`; who stops in a hurry gives less."""
        self._messages.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._report("dashboard_behind", f"{self._place} is still being written; the next start completes it")

    @property
    def _place(self) -> str:
        return str(self._file) if self._file is not None else "the database of search.storage_url"

    def _work(self) -> None:
        while (message := self._messages.get()) is not None:
            self._truth.take(message)
            if not self._written(message) and not self._written(None):
                self._discard_damaged_file()
                self._written(None)
        self._drop()

    def _written(self, message: _CatchUp | TrialSpec | Record | None) -> bool:
        """Whether the database now holds the message; None stands for everything."""
        try:
            if self._projection is None or self._replaced() or isinstance(message, _CatchUp | None):
                self._write_all()
            elif isinstance(message, TrialSpec):
                self._projection.running(message)
            else:
                self._projection.finished(message)
        except Exception as error:  # whatever a database does, the run goes on
            self._drop()
            self._say_failing(error)
            return False
        if self._failing:
            self._failing = False
            self._report("dashboard_written", f"{self._place} is written again")
        return True

    def _write_all(self) -> None:
        self._drop()
        self._projection = StudyProjection(self._url, self._run_id, self._spaces, shared=self._file is None)
        self._inode = self._inode_now()
        self._projection.catch_up(self._truth.records)
        for spec in self._truth.running.values():
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
        if self._file is not None and _is_damaged(self._file):
            for name in SQLITE_FILES:
                self._file.with_name(name).unlink(missing_ok=True)


def _is_damaged(path: Path) -> bool:
    """Whether SQLite itself says so: a locked file, a full disk are no damage."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)
        try:
            return bool(connection.execute("PRAGMA quick_check").fetchone() != ("ok",))
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        return True
