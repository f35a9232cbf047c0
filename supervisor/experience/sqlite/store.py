"""The experience store in an SQLite file."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from supervisor.experience.rows import MICROSECONDS, Experiences
from supervisor.experience.sqlite.connection import connect, told, transaction
from supervisor.experience.sqlite.packing import packed, unpacked
from supervisor.experience.store import (
    BATCH_ROWS,
    Page,
    Parcel,
    Position,
    Reader,
    Selection,
    Stored,
    TargetStats,
)

COLUMNS = 'archetype, model_type, "timestamp", width, action, reward, done, priority, episode, step, version, row'
INSERT = f"INSERT INTO ml_experience_replay ({COLUMNS}) VALUES (?{', ?' * COLUMNS.count(',')})"  # noqa: S608


def now_us() -> int:
    return int(time.time() * MICROSECONDS)


class SqliteStore:
    """An ExperienceStore."""

    def __init__(self, path: Path, clock: Callable[[], int] = now_us) -> None:
        """`clock` says when a parcel was stored, in microseconds. Raises StoreDownError, DamagedStateError."""
        self._path = path
        self._clock = clock
        self._connection = connect(path)

    @property
    def identity(self) -> str:
        with told(self._path):
            found = self._connection.execute("SELECT id FROM ml_experience_identity").fetchone()
        return "" if found is None else str(found[0])

    @property
    def path(self) -> Path:
        return self._path

    @property
    def connection(self) -> sqlite3.Connection:
        """For what goes beyond experiences: the tables of models, retention."""
        return self._connection

    def write(self, parcels: Sequence[Parcel]) -> list[Stored]:
        with told(self._path), transaction(self._connection):
            return [self._store(parcel) for parcel in parcels]

    def _store(self, parcel: Parcel) -> Stored:
        if parcel.key:
            known = self._connection.execute(
                "SELECT rows, quarantined FROM ml_experience_batches WHERE client = ? AND key = ?",
                (parcel.client, parcel.key),
            ).fetchone()
            if known is not None:
                return Stored(known[0], known[1], repeated=True)
        stored, now = Stored(parcel.rows, len(parcel.refused)), self._clock()
        for target, experiences in parcel.experiences:
            self._connection.executemany(INSERT, _rows(target, experiences))
        self._connection.executemany(
            'INSERT INTO ml_experience_quarantine ("timestamp", target, reason, detail, row) VALUES (?, ?, ?, ?, ?)',
            ((now, row.target, row.reason, row.detail, row.row) for row in parcel.refused),
        )
        if parcel.key:
            self._connection.execute(
                "INSERT INTO ml_experience_batches (client, key, rows, quarantined, stored_at) VALUES (?, ?, ?, ?, ?)",
                (parcel.client, parcel.key, stored.rows, stored.quarantined, now),
            )
        return stored

    def newest(self, selection: Selection) -> Position | None:
        return self._edge(selection, *_everything(), "DESC", 0)

    def nth(self, selection: Selection, after: Position, upto: Position, number: int) -> Position | None:
        if number > 0:
            return self._edge(selection, after, upto, "ASC", number - 1)
        return self._edge(selection, after, upto, "DESC", -number - 1)

    def _edge(self, selection: Selection, after: Position, upto: Position, order: str, skip: int) -> Position | None:
        where, values = _where(selection, after, upto)
        query = f"SELECT id FROM ml_experience_replay WHERE {where} ORDER BY id {order} LIMIT 1 OFFSET ?"  # noqa: S608
        with told(self._path):
            found = self._connection.execute(query, (*values, skip)).fetchone()
        return None if found is None else Position(0, found[0])

    def count(self, selection: Selection, after: Position, upto: Position, at_most: int | None = None) -> int:
        where, values = _where(selection, after, upto)
        rows = f"SELECT 1 FROM ml_experience_replay WHERE {where} LIMIT ?"  # noqa: S608
        with told(self._path):
            limit = -1 if at_most is None else at_most
            return int(self._connection.execute(f"SELECT count(*) FROM ({rows})", (*values, limit)).fetchone()[0])  # noqa: S608

    def stream(
        self, selection: Selection, after: Position, upto: Position, batch_rows: int = BATCH_ROWS
    ) -> Iterator[Page]:
        """A statement for each page: one that stays open would keep the write-ahead log from being folded in."""
        while True:
            where, values = _where(selection, after, upto)
            query = f"SELECT id, row FROM ml_experience_replay WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
            with told(self._path):
                rows = self._connection.execute(query, (*values, batch_rows)).fetchall()
            if rows:
                after = Position(0, rows[-1][0])
                yield Page(unpacked([row for _, row in rows]), after)
            if len(rows) < batch_rows:
                return

    def stats(self) -> list[TargetStats]:
        query = """SELECT archetype || '/' || model_type, count(*), min("timestamp"), max("timestamp"), max(id)
            FROM ml_experience_replay GROUP BY archetype, model_type ORDER BY 1"""
        with told(self._path):
            found = self._connection.execute(query).fetchall()
        return [
            TargetStats(target, rows, oldest, newest, Position(0, last)) for target, rows, oldest, newest, last in found
        ]

    def note_reader(self, reader: Reader) -> None:
        with told(self._path), transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO ml_experience_readers (name, archetype, model_type, txid, row_id, seen_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (reader.name, *reader.target.split("/", 1), *reader.position, reader.seen_us),
            )

    def readers(self) -> list[Reader]:
        query = "SELECT name, archetype || '/' || model_type, txid, row_id, seen_at FROM ml_experience_readers"
        with told(self._path):
            found = self._connection.execute(f"{query} ORDER BY 1, 2").fetchall()
        return [Reader(name, target, Position(txid, row), seen) for name, target, txid, row, seen in found]

    def close(self) -> None:
        self._connection.close()


def _rows(target: str, experiences: Experiences) -> Iterator[tuple[object, ...]]:
    """In the order of COLUMNS."""
    return zip(
        *map(itertools.repeat, target.split("/", 1)),
        experiences.times.tolist(),
        itertools.repeat(experiences.width),
        experiences.actions.tolist(),
        experiences.rewards.tolist(),
        experiences.done.tolist(),
        experiences.priorities.tolist(),
        experiences.episodes.tolist(),
        experiences.steps.tolist(),
        experiences.versions.tolist(),
        packed(experiences),
        strict=False,  # the names and the width have no end; the others are of one length, or cannot be packed
    )


def _everything() -> tuple[Position, Position]:
    return Position(0, 0), Position(0, 2**63 - 1)


def _where(selection: Selection, after: Position, upto: Position) -> tuple[str, tuple[object, ...]]:
    """The condition and its values. A position of another kind of store has a transaction's number."""
    conditions = ["archetype = ?", "model_type = ?", "id > ?", "id <= ?"]
    values: list[object] = [selection.archetype, selection.model_type, after.id, upto.id]
    if selection.min_priority > 0:
        conditions.append("priority >= ?")
        values.append(selection.min_priority)
    if selection.since_us is not None:
        conditions.append('"timestamp" >= ?')
        values.append(selection.since_us)
    if selection.width is not None:
        conditions.append("width = ?")
        values.append(selection.width)
    return " AND ".join(conditions), tuple(values)
