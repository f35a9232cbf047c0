"""Retention by the run itself: once a day, in a process of its own, and whatever becomes of that the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest

from supervisor import loop
from supervisor.config.continuous import ExperienceSettings
from supervisor.experience.caretaker import DAY_US
from supervisor.experience.opening import DEFAULT_NAME, URL_VARIABLE, caretaker_of
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import BEGINNING, Reader, Selection
from supervisor.journal import sealed
from supervisor.journal.log import read_log
from supervisor.storekeeper import DAY_S, LOOK_S, RETRY_S, Storekeeper
from supervisor.storekeeping import Duty, Ending, done, is_due
from tests.support.caretaker_conformance import NOW_US, in_files, played
from tests.support.experiences import OTHER, TARGET, numbers, read, write
from tests.support.postgres import database, shared_server
from tests.support.processes import ROOT, wait_for
from tests.support.pupil import TARGETS, pupils
from tests.support.small_run import SmallRun

NOTHING = dict[str, str]
SAYS_NOTHING = (sys.executable, "-c", "")
FALLS = (sys.executable, "-c", "import sys; sys.exit('no memory')")
HANGS = (sys.executable, "-c", "import time; time.sleep(600)")


class Kept:
    """A keeper whose clocks a test sets, and what it reported."""

    def __init__(self, folder, **given):
        self.folder, self.told = folder, []
        self.now_us, self.monotonic_s = NOW_US, 0.0
        self.keeper = Storekeeper(
            folder,
            given.pop("settings", ExperienceSettings()),
            "run",
            lambda event, reason, **details: self.told.append((event, reason, details)),
            monotonic_s=lambda: self.monotonic_s,
            now_us=lambda: self.now_us,
            **given,
        )

    def goes_by(self, seconds):
        self.now_us += int(seconds * 1e6)
        self.monotonic_s += seconds
        return self

    def turns(self, reading=NOTHING):
        """Turns until nothing is under way; whether there was anything."""
        self.keeper.turn(reading)
        began = self.keeper.busy
        wait_for("the retention's end", lambda: self.keeper.turn(reading) or not self.keeper.busy)
        return began

    @property
    def events(self):
        return [event for event, *_ in self.told]


@pytest.fixture
def keep(tmp_path):
    made = []

    def make(**given):
        made.append(Kept(tmp_path, **given))
        return made[-1]

    yield make
    for one in made:
        one.keeper.close()


def stored(folder, *parts, target=TARGET):
    store = SqliteStore(folder / DEFAULT_NAME)
    for part in parts:
        write(store, part, target)
    store.close()


def left(folder, target=TARGET):
    store = SqliteStore(folder / DEFAULT_NAME)
    try:
        return numbers(read(store, Selection(target)))
    finally:
        store.close()


def duty(folder, now_us=NOW_US, **reading):
    return Duty(str(folder), 30, 7, now_us, "run", reading)


def test_what_is_old_moves_to_files_and_what_is_older_goes_and_one_line_says_so(keep, tmp_path):
    stored(tmp_path, played(10, 40), played(20, 9, 10), played(5, 0, 30))
    kept = keep()
    assert kept.turns()
    ((event, reason, details),) = kept.told
    assert event == "store_kept"
    assert "20 rows moved to 1 files in experiences, 10 rows and 0 files removed" in reason
    assert (details["cold_rows"], details["gone_rows"], details["written_files"]) == (20, 10, 1)
    assert left(tmp_path) == [*range(30, 35)]
    assert in_files(tmp_path / "experiences") == [*range(10, 30)]


def test_it_is_done_once_a_day_whatever_the_starts_and_again_where_the_clock_was_put_back(keep, tmp_path):
    stored(tmp_path, played(5, 9))
    kept = keep()
    assert kept.turns()
    assert not kept.turns()
    assert not kept.goes_by(DAY_S - 61).turns()
    assert not keep().turns()
    assert kept.goes_by(LOOK_S + 1).turns()
    assert kept.events == ["store_kept"]  # the second one had nothing to do, which is no news
    assert not is_due(tmp_path, kept.now_us)
    assert is_due(tmp_path, kept.now_us - 1)


def test_a_note_that_cannot_be_read_makes_it_due(tmp_path):
    assert is_due(tmp_path, NOW_US)
    (tmp_path / "experiences").mkdir()
    note = tmp_path / "experiences" / "retention.json"
    sealed.write(note, {"done_us": NOW_US})
    assert not is_due(tmp_path, NOW_US)
    note.write_bytes(note.read_bytes()[:-9])
    assert is_due(tmp_path, NOW_US)


def test_where_nothing_was_ever_played_nothing_is_done_or_made(keep, tmp_path):
    assert not keep().turns()
    assert list(tmp_path.iterdir()) == []


def test_a_turn_never_waits_for_it(keep, tmp_path):
    stored(tmp_path, played(5, 9))
    kept = keep(command=HANGS)
    for _ in range(100):
        began_s = time.monotonic()
        kept.keeper.turn(NOTHING)
        assert time.monotonic() - began_s < 5
    assert kept.keeper.busy
    kept.keeper.close()
    assert not kept.keeper.busy


@pytest.mark.parametrize(
    ("command", "said"),
    [(FALLS, "ended with 1: no memory"), (SAYS_NOTHING, "ended with 0"), (("/no/such/program",), "could not begin")],
)
def test_one_that_falls_is_told_once_and_tried_again(keep, tmp_path, command, said):
    stored(tmp_path, played(5, 9))
    kept = keep(command=command)
    for _ in range(3):
        kept.turns()
        assert not kept.goes_by(LOOK_S + 1).turns()
        kept.goes_by(RETRY_S)
    assert kept.events == ["store_not_kept"]
    assert said in kept.told[0][1]
    kept.keeper._command = keep().keeper._command
    assert kept.turns()
    assert kept.events == ["store_not_kept", "store_kept"]


def test_killed_while_it_works_it_is_told_and_finished_by_the_next(keep, tmp_path):
    stored(tmp_path, played(20, 10), played(20, 9, 20))
    kept, writer = keep(), SqliteStore(tmp_path / DEFAULT_NAME)
    writer.connection.execute("BEGIN IMMEDIATE")  # its removal waits
    kept.keeper.turn(NOTHING)
    wait_for("a file", lambda: list((tmp_path / "experiences").rglob("*.parquet")))
    os.kill(kept.keeper._child.pid, signal.SIGKILL)
    kept.turns()
    writer.connection.execute("ROLLBACK")
    writer.close()
    assert kept.events == ["store_not_kept"]
    assert "ended with -9" in kept.told[0][1]
    assert left(tmp_path) == [*range(40)]
    assert kept.goes_by(RETRY_S + 1).turns()
    assert kept.events == ["store_not_kept", "store_kept"]
    assert left(tmp_path) == []
    assert sorted(in_files(tmp_path / "experiences")) == [*range(40)]


KEEPS = """
import sys, time
from pathlib import Path
from supervisor.config.continuous import ExperienceSettings
from supervisor.storekeeper import Storekeeper
keeper = Storekeeper(Path(sys.argv[1]), ExperienceSettings(), "run", print)
keeper.turn(dict)
print(keeper._child.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_the_run_that_began_it(tmp_path):
    stored(tmp_path, played(5, 9))
    (tmp_path / "experiences").mkdir()
    os.mkfifo(tmp_path / "experiences" / "manifest.jsonl")  # reading it never ends
    process = subprocess.Popen([sys.executable, "-c", KEEPS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        child = psutil.Process(int(process.stdout.readline()))
        wait_for("its lock", (tmp_path / "experiences" / ".lock").exists)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()


def test_a_silent_database_is_told_once_and_asked_again(keep, tmp_path, monkeypatch):
    stored(tmp_path, played(5, 9))
    path, away = tmp_path / DEFAULT_NAME, tmp_path / "away"
    path.rename(away)
    path.mkdir()
    kept = keep()
    for _ in range(2):
        assert kept.turns()
        kept.goes_by(RETRY_S + 1)
    assert kept.events == ["store_not_kept"]
    assert "it is tried again" in kept.told[0][1]
    path.rmdir()
    away.rename(path)
    assert kept.turns()
    assert left(tmp_path) == []


def test_of_two_at_once_the_second_waits_without_a_word(keep, tmp_path):
    stored(tmp_path, played(5, 9))
    store = SqliteStore(tmp_path / DEFAULT_NAME)
    with caretaker_of(store).alone():
        kept = keep()
        assert kept.turns()
        assert (kept.events, left(tmp_path)) == ([], [*range(5)])
    store.close()
    assert kept.goes_by(RETRY_S + 1).turns()
    assert kept.events == ["store_kept"]


MADE_BY_OTHERS = """CREATE TABLE ml_experience_replay (id bigserial, archetype text, state bytea, reward real,
    next_state bytea, done bool, model_type text, "timestamp" timestamptz DEFAULT to_timestamp(0))"""


def test_a_table_of_somebody_else_is_left_alone_and_that_is_said_once(keep, monkeypatch):
    with database(shared_server()) as url:
        with psycopg.connect(url) as connection:
            connection.execute(MADE_BY_OTHERS)
            connection.execute(
                "INSERT INTO ml_experience_replay (archetype, model_type, state, reward, next_state, done)"
                " VALUES ('mage', 'combat_dqn', '', 1, '', false)"
            )
        monkeypatch.setenv(URL_VARIABLE, url)
        kept = keep(settings=ExperienceSettings(url=url))
        for _ in range(2):
            assert kept.turns()
            assert not kept.goes_by(RETRY_S + 1).turns()
            kept.goes_by(DAY_S)
        assert kept.events == ["store_not_kept"]
        assert "made by somebody else; its rows stay" in kept.told[0][1]


def test_without_pyarrow_what_is_too_old_for_files_goes_all_the_same(tmp_path, monkeypatch):
    stored(tmp_path, played(10, 9))
    stored(tmp_path, played(10, 40), target=OTHER)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for module in [name for name in sys.modules if name.endswith("transport.arrowfile")]:
        monkeypatch.delitem(sys.modules, module)
    told = done(duty(tmp_path))
    assert told.ending is Ending.REFUSED
    assert "incumbent[experience]" in told.reason
    assert (left(tmp_path), left(tmp_path, OTHER)) == ([*range(10)], [])
    assert is_due(tmp_path, NOW_US)


def test_what_a_waiting_lesson_reads_stays_however_long_it_has_waited(tmp_path):
    stored(tmp_path, played(20, 40))
    store = SqliteStore(tmp_path / DEFAULT_NAME)
    places = [str(page.last) for page in read(store, batch_rows=1)]
    store.note_reader(Reader("run", TARGET, BEGINNING, NOW_US - 35 * DAY_US))
    store.close()
    assert done(duty(tmp_path, **{TARGET: places[11]})).kept.gone_rows == 12
    assert left(tmp_path) == [*range(12, 20)]
    assert done(duty(tmp_path, NOW_US + 31 * DAY_US)).kept.gone_rows == 8


def test_a_run_has_it_done_while_it_searches(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.01)
    run = SmallRun(tmp_path / "run", TARGETS, definitions=pupils(), learns=True)
    run.run_dir.mkdir()
    stored(run.run_dir, played(10, 0))
    keeper = Storekeeper(
        run.run_dir, ExperienceSettings(), "run", run.events().write, now_us=lambda: NOW_US + 20 * DAY_US
    )
    began = []

    def measured(turn):
        began.append(keeper.busy)
        wait_for("its end", lambda: not keeper.busy or keeper._child.poll() is not None)

    run.run(6, storekeeper=keeper, measured=measured)
    keeper.close()
    assert any(began)
    assert len(read_log(run.run_dir).records) == 6
    assert any("store_kept" in said for said in run.said)
    assert left(run.run_dir) == []
