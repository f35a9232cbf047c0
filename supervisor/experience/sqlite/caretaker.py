"""Looking after a store in an SQLite file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from supervisor.experience.caretaker import DAY_US, HOUR_US, BusyError, Day, Overview, Span, blocks_of_one_width
from supervisor.experience.finding import Finding
from supervisor.experience.rows import Experiences
from supervisor.experience.sqlite.connection import told, transaction
from supervisor.experience.sqlite.doctor import examine
from supervisor.experience.sqlite.packing import shape_of, unpacked
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Position

READ_ROWS = 4096
ROW_BYTES = 125
"""What a row takes beside its piece of bytes."""

SPAN = 'archetype = ? AND model_type = ? AND "timestamp" >= ? AND "timestamp" < ? AND id > ? AND id <= ?'


class SqliteCaretaker:
    """A Caretaker."""

    def __init__(self, store: SqliteStore) -> None:
        self._store, self._path, self._connection = store, store.path, store.connection

    def overview(self, now_us: int) -> Overview:
        recent = """SELECT archetype || '/' || model_type, count(*) FROM ml_experience_replay
            WHERE "timestamp" >= ? GROUP BY 1"""
        held = f"""SELECT archetype || '/' || model_type,
            sum(length(row) + {ROW_BYTES})
            FROM ml_experience_replay GROUP BY 1"""  # noqa: S608
        with told(self._path):
            return Overview(
                size_bytes(self._path),
                dict(self._connection.execute(recent, (now_us - HOUR_US,)).fetchall()),
                dict(self._connection.execute(held).fetchall()),
                dict(self._connection.execute("SELECT reason, count(*) FROM ml_experience_quarantine GROUP BY 1")),
            )

    def findings(self, now_us: int) -> list[Finding]:
        return examine(self._store, now_us)

    def days(self, target: str, before_us: int, upto: Position) -> list[Day]:
        query = f"""SELECT "timestamp" / {DAY_US} * {DAY_US}, count(*) FROM ml_experience_replay
            WHERE archetype = ? AND model_type = ? AND "timestamp" < ? AND id <= ? GROUP BY 1 ORDER BY 1"""  # noqa: S608
        before_us -= before_us % DAY_US
        with told(self._path):
            found = self._connection.execute(query, (*target.split("/", 1), before_us, upto.id)).fetchall()
        return [Day(begin, rows) for begin, rows in found]

    def read(self, span: Span) -> Iterator[Experiences]:
        query = f"SELECT id, row FROM ml_experience_replay WHERE {SPAN} ORDER BY id LIMIT {READ_ROWS}"  # noqa: S608
        after = 0
        while True:
            with told(self._path):
                rows = self._connection.execute(query, _values(span, after)).fetchall()
            pieces = [row for _, row in rows]
            for block in blocks_of_one_width([shape_of(piece) for piece in pieces]):
                yield unpacked(pieces[block])
            if len(rows) < READ_ROWS:
                return
            after = rows[-1][0]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        path = self._path.resolve()
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError(f"{self._path}: another retention is at work; wait for its end") from error
        try:
            yield
        finally:
            lock.release()

    def remove(self, span: Span, batch_rows: int, reading_since_us: int) -> Iterator[int]:
        query = f"SELECT id FROM ml_experience_replay WHERE {SPAN} ORDER BY id LIMIT ?"  # noqa: S608
        after = 0
        while True:
            with told(self._path):  # sought before the transaction: writers wait for the removal alone
                ids = self._connection.execute(query, (*_values(span, after), batch_rows)).fetchall()
                if not ids:
                    return
                with transaction(self._connection):
                    if self._is_read(span.target, Position(0, ids[-1][0]), reading_since_us):
                        return
                    self._connection.executemany("DELETE FROM ml_experience_replay WHERE id = ?", ids)
            yield len(ids)
            after = ids[-1][0]

    def _is_read(self, target: str, upto: Position, since_us: int) -> bool:
        query = """SELECT 1 FROM ml_experience_readers WHERE archetype = ? AND model_type = ? AND seen_at >= ?
            AND (txid, row_id) < (?, ?)"""
        return self._connection.execute(query, (*target.split("/", 1), since_us, *upto)).fetchone() is not None

    def forget(self, before_us: int, batch_rows: int) -> Iterator[int]:
        for statement in (
            """DELETE FROM ml_experience_batches WHERE (client, key) IN
                (SELECT client, key FROM ml_experience_batches WHERE stored_at < ? LIMIT ?)""",
            """DELETE FROM ml_experience_quarantine WHERE id IN
                (SELECT id FROM ml_experience_quarantine WHERE "timestamp" < ? ORDER BY id LIMIT ?)""",
        ):
            yield from self._forget(statement, before_us, batch_rows)

    def forget_parcels(self, client: str, prefix: str) -> None:
        with told(self._path), transaction(self._connection):
            self._connection.execute(
                "DELETE FROM ml_experience_batches WHERE client = ? AND substr(key, 1, ?) = ?",
                (client, len(prefix), prefix),
            )

    def _forget(self, statement: str, before_us: int, batch_rows: int) -> Iterator[int]:
        while True:
            with told(self._path), transaction(self._connection):
                gone = self._connection.execute(statement, (before_us, batch_rows)).rowcount
            if gone:
                yield gone
            if gone < batch_rows:
                return


def size_bytes(path: Path) -> int:
    """Of the file and of what is written ahead of it."""
    files: Sequence[Path] = (path, Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _values(span: Span, after: int) -> tuple[object, ...]:
    return (*span.target.split("/", 1), span.since_us, span.before_us, after, span.upto.id)
