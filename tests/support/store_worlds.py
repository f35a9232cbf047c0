"""Stores of experiences that a test breaks as the world does: stopped servers, cut cables, locks, full disks."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

from supervisor.experience.opening import open_store
from supervisor.experience.store import ExperienceStore
from tests.support.cable import Cable
from tests.support.postgres import Server, execute
from tests.support.small_disk import SmallDisk


def nothing() -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """From `begin` to `end`: whether nobody connects, and whether who is connected cannot read, or write."""

    begin: Callable[[], None]
    end: Callable[[], None] = nothing
    opening: bool = True
    reading: bool = True
    writing: bool = True
    sudden: bool = True  # whether the smallest write meets it, or only one that needs more room


class World(Protocol):
    url: str

    def open(self) -> ExperienceStore: ...

    @property
    def faults(self) -> Mapping[str, Fault]: ...


class SqliteWorld:
    """A file in a folder."""

    def __init__(self, folder: Path, disk: SmallDisk | None = None) -> None:
        self._path = (disk.folder if disk else folder) / "play.db"
        self._aside = folder.with_name("aside")
        self._disk = disk
        self._holder: sqlite3.Connection | None = None
        self.url = f"sqlite:///{self._path}"

    def open(self) -> ExperienceStore:
        return open_store(self.url, self._path.parent)

    @property
    def faults(self) -> Mapping[str, Fault]:
        known = {
            "another writes": Fault(self._hold_for_writing, self._let_go, opening=False, reading=False),
            "another has it alone": Fault(self._hold_alone, self._let_go, reading=False, writing=False),
            "gone": Fault(self._take_away, self._bring_back, reading=False, writing=False),
            "no database": Fault(self._replace, self._bring_back, reading=False, writing=False),
        }
        if self._disk is not None:
            # not sudden: whoever closes the file gives back what was written ahead of it, and so has some room again
            known["disk full"] = Fault(self._disk.fill, self._disk.make_room, reading=False, sudden=False)
        return known

    def _hold_for_writing(self) -> None:
        self._begin("BEGIN IMMEDIATE")

    def _hold_alone(self) -> None:
        """As programs do that copy or repair it; nobody else may have it open by then."""
        self._begin("PRAGMA locking_mode = exclusive", "BEGIN EXCLUSIVE")

    def _begin(self, *statements: str) -> None:
        self._holder = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for statement in statements:
            self._holder.execute(statement)

    def _let_go(self) -> None:
        assert self._holder is not None
        self._holder.close()

    def _take_away(self) -> None:
        """With its folder, as a disk that is unplugged."""
        self._path.parent.rename(self._aside)

    def _replace(self) -> None:
        self._take_away()
        self._path.parent.mkdir()
        self._path.write_bytes(b"no database " * 1000)

    def _bring_back(self) -> None:
        if self._path.parent.exists():
            for path in self._path.parent.iterdir():
                path.unlink()
            self._path.parent.rmdir()
        self._aside.rename(self._path.parent)


class PostgresWorld:
    """A database of a server of its own, at the other end of a cable."""

    def __init__(self, server: Server, database: str, cable: Cable, disk: SmallDisk | None = None) -> None:
        self._server, self._cable, self._disk = server, cable, disk
        self._direct = server.address(database)
        self._holder: psycopg.Connection[Any] | None = None
        self.url = f"postgresql://tester@/{database}?host={cable.folder}"

    def open(self) -> ExperienceStore:
        return open_store(self.url, self._cable.folder)

    def losing(self, request: bytes, commit: bytes) -> Fault:
        """The answer to what commits such a request: it is done, and nobody hears of it."""
        return Fault(lambda: self._cable.lose_the_answer_to(request, commit), self._cable.mend)

    @property
    def faults(self) -> Mapping[str, Fault]:
        known = {
            "restarted": Fault(self._server.stop, self._server.start),
            "crashed": Fault(lambda: self._server.stop(signal.SIGQUIT), self._server.start),
            "cable cut": Fault(self._cable.cut, self._cable.mend),
            "connection ended": Fault(self._end_connections, opening=False),
            "statements too slow": Fault(self._lock, self._let_go),
        }
        if self._disk is not None:
            known["disk full"] = Fault(
                self._disk.fill, self._disk.make_room, opening=False, reading=False, sudden=False
            )
        return known

    def _end_connections(self) -> None:
        with psycopg.connect(self._direct, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'incumbent' AND datname = current_database()"
            )

    def _lock(self) -> None:
        self._holder = psycopg.connect(self._direct)
        found = self._holder.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'ml\\_%'").fetchall()
        names = sql.SQL(", ").join(sql.Identifier(name) for (name,) in found)
        self._holder.execute(sql.SQL("LOCK TABLE {}").format(names))

    def _let_go(self) -> None:
        assert self._holder is not None
        self._holder.close()


@contextlib.contextmanager
def tablespace(server: Server, disk: SmallDisk) -> Iterator[str]:
    """On the disk, for a database; gone before it."""
    data = Path(tempfile.mkdtemp(dir=disk.folder))
    server.give(data)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(data))))
    yield "small"
    with psycopg.connect(server.url, autocommit=True) as connection:
        execute(connection, "DROP TABLESPACE {}", "small")
