"""An import that is killed and run again stores every row once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Selection
from supervisor.experience.transport.exporting import exported
from supervisor.experience.transport.importing import checked, imported
from supervisor.experience.transport.source import CHUNK_ROWS, chunks
from tests.support.experiences import NOON_US, OTHER, TARGET, experiences, numbered, numbers, read, write
from tests.support.processes import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.transport.importing import checked, imported
class Doomed(SqliteStore):
    left = int(sys.argv[3])
    def write(self, parcels):
        stored = super().write(parcels)
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return stored
file, _ = checked(Path(sys.argv[2]), None, 0, quarantine=False)
imported(Doomed(Path(sys.argv[1])), file, 0)
"""
ROWS = 3 * CHUNK_ROWS + 50


@pytest.fixture(scope="module", params=["parquet", "npz"])
def file(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("whole")
    store = SqliteStore(base / "x.db")
    write(store, numbered(ROWS))
    exported(store, Selection(TARGET), request.param, base / "x")
    store.close()
    return base / "x"


def test_an_import_that_was_killed_and_is_run_again_stores_nothing_twice(tmp_path, file):
    path = tmp_path / "experiences.db"
    for left in (2, 1):
        command = [sys.executable, "-c", KILLED, str(path), str(file), str(left)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    store = SqliteStore(path)
    done = imported(store, checked(file, None, 0, quarantine=False)[0], 0)
    assert (done.rows, done.repeated) == (ROWS, 2 * CHUNK_ROWS)
    assert Counter(numbers(read(store))) == Counter(range(ROWS))
    store.close()


def test_the_same_file_may_be_imported_for_another_target(tmp_path, file):
    store = SqliteStore(tmp_path / "experiences.db")
    for target in (TARGET, OTHER):
        assert imported(store, checked(file, target, 0, quarantine=False)[0], 0).repeated == 0
    assert len(numbers(read(store, Selection(OTHER)))) == ROWS
    store.close()


def test_chunks_are_the_same_however_a_library_cuts_its_blocks():
    rows = numbered(2 * CHUNK_ROWS + 3)
    other = experiences(5, width=3)
    for size in (1000, CHUNK_ROWS, 3 * CHUNK_ROWS):
        blocks = [rows.where(slice(begin, begin + size)) for begin in range(0, len(rows), size)]
        found = list(chunks([*blocks, other]))
        assert [len(chunk) for chunk in found] == [CHUNK_ROWS, CHUNK_ROWS, 3, 5]
        assert np.array_equal(np.concatenate([chunk.rewards for chunk in found[:3]]), rows.rewards)


def test_a_file_that_does_not_say_when_is_of_now(tmp_path):
    rows = vars(experiences(3))
    np.savez(
        tmp_path / "x.npz", **{name: rows[name] for name in ("states", "actions", "rewards", "next_states", "done")}
    )
    [block] = checked(tmp_path / "x.npz", TARGET, NOON_US, quarantine=False)[0].source.blocks(NOON_US)
    assert block.times.tolist() == [NOON_US] * 3
    assert (block.priorities.tolist(), block.versions.tolist()) == ([1.0] * 3, [0] * 3)
