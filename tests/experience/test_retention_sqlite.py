"""Retention over a file: what every caretaker does, a real kill, and how the file's doctor sees it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from supervisor.experience.keeping.retention import Retention
from supervisor.experience.opening import caretaker_of
from supervisor.experience.sqlite.store import COLUMNS, SqliteStore
from supervisor.experience.store import BEGINNING, Selection
from tests.support.caretaker_conformance import AGES, NOW_US, CaretakerConformance, in_files, played
from tests.support.experiences import TARGET, numbers, read, write
from tests.support.processes import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from supervisor.experience.opening import caretaker_of
from supervisor.experience.sqlite.store import SqliteStore
from tests.support.caretaker_conformance import NOW_US, retention
store, left = SqliteStore(Path(sys.argv[1])), int(sys.argv[3])
def rest(_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
retention(store, Path(sys.argv[2]), rest=rest, batch_rows=100).run(NOW_US)
"""


class TestSqliteCaretaker(CaretakerConformance):
    @pytest.fixture
    def store(self, tmp_path):
        opened = SqliteStore(tmp_path / "experiences.db")
        yield opened
        opened.close()

    @pytest.fixture
    def another(self, tmp_path):
        opened = []

        def open_one():
            opened.append(SqliteStore(tmp_path / "experiences.db"))
            return opened[-1]

        yield open_one
        for one in opened:
            one.close()

    def be_impatient(self, store):
        store.connection.execute("PRAGMA busy_timeout = 10")

    def put_at(self, store, places, rows):
        statement = f"INSERT INTO ml_experience_replay (id, {COLUMNS}) SELECT ?, {COLUMNS} FROM ml_experience_replay"
        before = store.newest(Selection(TARGET)) or BEGINNING
        write(store, rows)
        there = [page.last for page in read(store, after=before, batch_rows=1)]
        for place, now in zip(places, there, strict=True):
            store.connection.execute(f"{statement} WHERE id = ?", (place.id, now.id))
            store.connection.execute("DELETE FROM ml_experience_replay WHERE id = ?", (now.id,))


def test_a_retention_killed_while_it_removes_rows_is_finished_by_the_next(tmp_path):
    path, folder = tmp_path / "experiences.db", tmp_path / "experiences"
    store = SqliteStore(path)
    for days_ago in (9, 10):
        write(store, played(1000, days_ago, 1000 * (days_ago - 9)))
    command = [sys.executable, "-c", KILLED, str(path), str(folder), "4"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert len(numbers(read(store))) == 1600
    assert Retention(store, caretaker_of(store), folder, AGES).run(NOW_US).cold_rows == 1600
    assert sorted(in_files(folder)) == list(range(2000))
    assert read(store) == []
    store.close()
