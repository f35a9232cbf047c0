"""What may be wrong with a store in an SQLite file, and the cure of each."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil

from supervisor.errors import DamagedStateError
from supervisor.experience.finding import Finding, Severity
from supervisor.experience.lag import lag_finding, lags
from supervisor.experience.sqlite.connection import make_tables, told
from supervisor.experience.sqlite.store import SqliteStore

MIB = 2**20
LOG_BYTES = 64 * MIB
"""SQLite folds what is written ahead into the file every 4 MiB, unless somebody reads for long."""
FREE_BYTES = 1024 * MIB


def examine(store: SqliteStore, now_us: int) -> list[Finding]:
    """Everything found, what is as it should be too. Raises StoreDownError."""
    try:
        with told(store.path):
            damage = list(_damage(store.connection))
            found = [*damage, *_rest(store, now_us)]
    except DamagedStateError as error:
        what, _, cure = str(error).partition("; ")
        found = [Finding("damaged", what, cure)]
    return found


def _rest(store: SqliteStore, now_us: int) -> Iterator[Finding]:
    yield from _missing_indexes(store.connection)
    yield from _widths(store.connection)
    for lag in lags(store):
        yield lag_finding(lag, now_us)
    yield _log_ahead(store.connection, store.path)
    yield _free_disk(store.path)


def _damage(connection: sqlite3.Connection) -> Iterator[Finding]:
    problems = [text for (text,) in connection.execute("PRAGMA quick_check(5)")]
    if problems == ["ok"]:
        yield Finding("check", "every page can be read", severity=Severity.OK)
        return
    cure = "stop what writes, save what can be read (sqlite3 FILE .recover), and put that in the file's place"
    yield from (Finding("damaged", problem, cure) for problem in problems)


def _missing_indexes(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Against those of a store that the migrations have just made."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    for name, table, statement in _expected_indexes():
        if name not in there:
            cure = " ".join(statement.split())
            yield Finding("missing_index", f"{table} lacks the index {name}: reading takes ever longer", f"{cure};")


def _expected_indexes() -> list[tuple[str, str, str]]:
    fresh = sqlite3.connect(":memory:")
    try:
        make_tables(fresh)
        query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
        return fresh.execute(query).fetchall()
    finally:
        fresh.close()


def _widths(connection: sqlite3.Connection) -> Iterator[Finding]:
    query = """SELECT archetype || '/' || model_type, width, count(*) FROM ml_experience_replay
        GROUP BY 1, 2 ORDER BY 1, 3 DESC"""
    usual: dict[str, int] = {}
    for target, width, rows in connection.execute(query):
        most = usual.setdefault(target, width)
        if width != most:
            what = f"{target}: {rows} rows have states of {width} numbers where most have {most}"
            where = f"archetype || '/' || model_type = '{target}' AND width = {width}"
            cure = f"DELETE FROM ml_experience_replay WHERE {where};"  # noqa: S608
            yield Finding("wrong_dimension", f"{what}; a training takes those of its model's width alone", cure)


def _log_ahead(connection: sqlite3.Connection, path: Path) -> Finding:
    log = Path(f"{path}-wal")
    _, pages, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    size = log.stat().st_size if log.exists() else 0
    if size < LOG_BYTES or folded == pages:
        return Finding("write_ahead_log", f"{log.name} has {size / MIB:.1f} MiB", severity=Severity.OK)
    what = f"{log.name} has {size / MIB:.1f} MiB, {pages - folded} pages of it cannot be folded in: somebody reads"
    holders = ", ".join(f"{name} (pid {pid})" for pid, name in _holders(log)) or "nobody that can be seen from here"
    return Finding("write_ahead_log", what, f"end the one that has read for long; it is open in: {holders}")


def _holders(path: Path) -> Iterator[tuple[int, str]]:
    """Other processes that have the file open, as far as this user may look."""
    own = psutil.Process().pid
    for process in psutil.process_iter(["open_files", "name"]):
        files = process.info["open_files"] or ()
        if process.pid != own and any(file.path == str(path.resolve()) for file in files):
            yield process.pid, process.info["name"]


def _free_disk(path: Path) -> Finding:
    free = shutil.disk_usage(path.parent).free
    what = f"{free / MIB / 1024:.1f} GiB are free where {path} lies"
    if free >= FREE_BYTES:
        return Finding("disk", what, severity=Severity.OK)
    return Finding("disk", what, "free some, or let less be kept: incumbent store retain --days 14")
