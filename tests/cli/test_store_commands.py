"""`incumbent store`: every command as typed, over a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import BEGINNING, Parcel, Reader, Refused, Selection
from tests.support.command_line import call, process
from tests.support.experiences import OTHER, TARGET, WIDTH, experiences, numbered, numbers, read, write


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def store(run_dir):
    opened = SqliteStore(run_dir / "experiences.db")
    yield opened
    opened.close()


def at(run_dir, *arguments):
    return call("store", *arguments, "--run-dir", str(run_dir))


def test_a_store_is_made_once_and_again_is_no_fault(tmp_path):
    for _ in range(2):
        answer = at(tmp_path / "new", "init")
        assert (answer.code, "the store is there" in answer.out) == (0, True)
    assert at(tmp_path / "new", "migrate").out.endswith("schema 10\n")
    assert at(tmp_path / "new", "stats").code == 0


@pytest.mark.parametrize(
    "command", [("stats",), ("doctor",), ("migrate",), ("retain",), ("export", "*", "--output", "x")]
)
def test_a_store_that_is_not_there_is_not_made_by_looking(run_dir, command):
    answer = at(run_dir, *command)
    assert (answer.code, "incumbent store init" in answer.err) == (2, True)
    assert not list(run_dir.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "--layout", "hypertable"), "leave it out"),
        (("init", "--layout", "round"), "there are plain, partitioned, hypertable"),
        (("init", "--url", "mysql://x"), "postgresql://user@host/name"),
        (("export", "*", "--output", "x", "--format", "csv"), "there are parquet, arrow, npz, minari"),
    ],
)
def test_what_does_not_exist_is_refused(run_dir, arguments, said):
    answer = at(run_dir, *arguments)
    assert (answer.code, said in answer.err) == (2, True), answer.err


def test_a_database_that_does_not_answer_is_exit_code_5_without_its_password(tmp_path):
    url = f"postgresql://me:secret@/x?host={tmp_path}"
    for command in (("stats",), ("init",), ("migrate",), ("doctor",)):
        answer = at(tmp_path, *command, "--url", url)
        assert answer.code == 5
        assert "secret" not in answer.out + answer.err


def test_stats_tell_targets_quarantine_and_readers_with_their_lag(run_dir, store):
    write(store, numbered(10))
    store.write([Parcel([(OTHER, experiences(3))], [Refused("x/y", "not_finite", "", "{}")])])
    place = read(store, batch_rows=1)[3].last
    store.note_reader(Reader("run-1", TARGET, place, 1))
    told = at(run_dir, "stats", "--json").json()
    assert [(each["target"], each["rows"], each["rows_last_hour"]) for each in told["targets"]] == [
        (TARGET, 10, 0),
        (OTHER, 3, 0),
    ]
    assert told["targets"][0]["oldest"] == "2026-01-01T12:00:00Z"
    assert told["quarantine"] == {"not_finite": 1}
    [reader] = told["readers"]
    assert (reader["name"], reader["target"], reader["lag_rows"]) == ("run-1", TARGET, 6)
    assert reader["lag_s"] > 0
    text = at(run_dir, "stats").out
    assert "reader run-1 of mage/combat_dqn: 6 rows behind" in text
    assert "quarantine: 1 rows, not_finite" in text


def test_export_and_import_carry_all_targets_and_again_stores_nothing_twice(run_dir, store, tmp_path):
    write(store, numbered(30))
    write(store, experiences(5, controls=2), OTHER)
    assert at(run_dir, "export", "mage/*,tank/*", "--output", str(tmp_path / "out")).code == 0
    files = [str(tmp_path / "out" / f"{target}.parquet") for target in (TARGET, OTHER)]
    first = at(tmp_path / "other", "import", *files)
    assert (first.code, "30 rows of mage/combat_dqn stored" in first.out) == (0, True)
    again = at(tmp_path / "other", "import", *files)
    assert "0 rows of mage/combat_dqn stored, 30 were already" in again.out
    copied = SqliteStore(tmp_path / "other" / "experiences.db")
    assert numbers(read(copied)) == list(range(30))
    copied.close()


def test_an_unknown_target_is_not_exported(run_dir, store, tmp_path):
    write(store, numbered(3))
    answer = at(run_dir, "export", "mage/combat_dqm", "--output", str(tmp_path))
    assert (answer.code, "mage/combat_dqn" in answer.err) == (2, True)


@pytest.mark.usefixtures("inline_jobs")
def test_what_collect_wrote_is_imported_as_its_manifest_says(run_dir):
    flags = ("--run-dir", str(run_dir), "--archetypes", "mage", "--samples-per-archetype", "200")
    assert call("collect", *flags).code == 0
    answer = at(run_dir, "import", str(run_dir / "data" / "mage.npz"))
    assert "200 rows of mage/combat_dqn stored" in answer.out, answer.err


def spoiled(tmp_path):
    """A file with mistakes in rows, one in columns, one that is none at all."""
    rows = vars(experiences(30))
    rows["states"][7, 2], rows["rewards"][9], rows["priorities"][11] = np.nan, np.inf, 0
    np.savez(tmp_path / "rows.npz", **rows, target=np.array(TARGET))
    columns = {**rows, "done": rows["rewards"]}
    del columns["next_states"]
    np.savez(tmp_path / "columns.npz", **columns)
    (tmp_path / "none.npz").write_text("nothing")
    return [str(tmp_path / f"{name}.npz") for name in ("rows", "columns", "none", "missing")]


def test_every_mistake_of_every_file_is_told_at_once_and_nothing_is_stored(run_dir, store, tmp_path):
    rows, columns, none, _ = spoiled(tmp_path)
    answer = at(run_dir, "import", rows, columns, none)
    assert answer.code == 2
    for said in (
        f"{rows}: row 7: states has NaN or an infinite number; leave such rows out, or let them go",
        f"{rows}: row 9: rewards",
        f"{rows}: row 11: priorities is 0, not above 0",
        f"{columns}: the column next_states is missing",
        f"{columns}: the column done is float32",
        f"{columns}: does not say of which target it is; give --target",
        f"{none}: is neither Parquet",
        "nothing was stored",
    ):
        assert said in answer.err
    assert store.stats() == []


def test_a_file_that_is_not_there_is_told(run_dir, tmp_path):
    answer = at(run_dir, "import", str(tmp_path / "missing.npz"))
    assert (answer.code, "missing.npz" in answer.err) == (2, True)


def test_bad_rows_go_to_the_quarantine_where_that_is_asked_for(run_dir, store, tmp_path):
    rows, *_ = spoiled(tmp_path)
    answer = at(run_dir, "import", rows, "--quarantine")
    assert (answer.code, "27 rows of mage/combat_dqn stored, 3 are in quarantine" in answer.out) == (0, True)
    assert len(numbers(read(store))) == 27
    kept = store.connection.execute("SELECT reason, row FROM ml_experience_quarantine ORDER BY id").fetchall()
    assert [reason for reason, _ in kept] == ["not_finite", "not_finite", "wrong_priority"]
    assert json.loads(kept[0][1])["states"][2] == "nan"
    assert "0 rows of mage/combat_dqn stored, 27 were already" in at(run_dir, "import", rows, "--quarantine").out


def test_retain_moves_old_rows_and_import_brings_them_back(run_dir, store):
    write(store, numbered(20))  # of a day long ago
    planned = at(run_dir, "retain", "--days", "100000", "--dry-run")
    assert planned.out.split() == ["cold", "2026-01-01", "20", "rows", "of", TARGET]
    answer = at(run_dir, "retain", "--days", "100000")
    assert (answer.code, "20 rows moved to 1 files" in answer.out) == (0, True)
    assert read(store) == []
    file = run_dir / "experiences" / "mage" / "combat_dqn" / "2026-01-01.parquet"
    assert at(run_dir, "import", str(file)).code == 0
    assert numbers(read(store)) == list(range(20))
    assert "20 rows and 1 files removed" in at(run_dir, "retain", "--days", "30").out


def doctor(run_dir):
    answer = at(run_dir, "doctor", "--json")
    told = answer.json()
    assert answer.code == (0 if told["ok"] else 1)
    return [finding for finding in told["findings"] if finding["severity"] == "wrong"]


def test_a_healthy_store_has_nothing_wrong(run_dir, store):
    write(store, numbered(20))
    assert doctor(run_dir) == []
    assert "BAD" not in at(run_dir, "doctor").out


def test_the_cures_of_the_doctor_are_carried_out_as_they_stand(run_dir, store):
    write(store, numbered(20))
    write(store, experiences(3, width=WIDTH + 1))
    store.connection.execute("DROP INDEX ml_experience_replay_target")
    index, width = doctor(run_dir)
    assert (index["code"], "ml_experience_replay_target" in index["what"]) == ("missing_index", True)
    assert (width["code"], "3 rows have states of 9 numbers where most have 8" in width["what"]) == (
        "wrong_dimension",
        True,
    )
    for finding in (index, width):
        store.connection.execute(finding["cure"])
    assert doctor(run_dir) == []
    assert len(read(store)[0].rows) == 20


def test_a_reader_far_behind_is_named(run_dir, store):
    write(store, numbered(20))
    store.note_reader(Reader("run-1", TARGET, BEGINNING, 1))
    [finding] = doctor(run_dir)
    assert (finding["code"], "run-1 has 20 rows of mage/combat_dqn unread" in finding["what"]) == ("lag", True)
    store.note_reader(Reader("run-1", TARGET, store.newest(Selection(TARGET)), 1))
    assert doctor(run_dir) == []


def test_a_damaged_page_is_found(run_dir, store):
    write(store, numbered(3000))
    store.close()
    path = run_dir / "experiences.db"
    data = bytearray(path.read_bytes())
    page = len(data) // 4096 // 2 * 4096
    data[page : page + 4096] = bytes([7]) * 4096
    path.write_bytes(data)
    assert {finding["code"] for finding in doctor(run_dir)} == {"damaged"}


HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM ml_experience_replay").fetchone()
print("reading", flush=True)
sys.stdin.readline()
"""


def test_whoever_keeps_the_write_ahead_log_from_being_folded_in_is_named(run_dir, store, monkeypatch):
    monkeypatch.setattr("supervisor.experience.sqlite.doctor.LOG_BYTES", 2**20)
    write(store, numbered(10))
    command = [sys.executable, "-c", HOLDER, str(run_dir / "experiences.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "reading\n"
        write(store, experiences(10_000))
        [finding] = doctor(run_dir)
        assert finding["code"] == "write_ahead_log"
        assert f"(pid {holder.pid})" in finding["cure"]
        os.kill(holder.pid, signal.SIGKILL)
    assert doctor(run_dir) == []


def test_it_works_in_a_process_of_its_own(tmp_path):
    assert process("store", "init", "--run-dir", str(tmp_path / "run")).code == 0
    assert process("store", "doctor", "--run-dir", str(tmp_path / "run")).code == 0
