"""`incumbent store` over PostgreSQL: the same commands, another address."""

from __future__ import annotations

import pytest

from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.store import BEGINNING, Parcel, Reader, Refused
from tests.support.command_line import call
from tests.support.experiences import OTHER, TARGET, experiences, numbered, numbers, read, together, write
from tests.support.postgres import database, running_server


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def url(server):
    with database(server) as address:
        yield address


def at(url, *arguments):
    return call("store", *arguments, "--url", url)


@pytest.mark.parametrize("layout", ["plain", "partitioned"])
def test_a_store_is_made_once_in_one_layout(url, layout):
    assert (at(url, "stats").code, at(url, "migrate").code) == (2, 2)
    for _ in range(2):
        answer = at(url, "init", "--layout", layout)
        assert (answer.code, f"layout {layout}" in answer.out) == (0, True), answer.err
    other = at(url, "init", "--layout", {"plain": "partitioned", "partitioned": "plain"}[layout])
    assert (other.code, "its layout is chosen once" in other.err) == (2, True)
    assert "schema 10" in at(url, "migrate").out


def test_rows_come_in_are_shown_and_go_out(url, tmp_path):
    assert at(url, "init").code == 0
    store = open_postgres(url)
    write(store, numbered(30))
    write(store, experiences(5, controls=2), OTHER)
    store.write([Parcel([], [Refused("x/y", "not_finite", "", "{}")])])
    store.note_reader(Reader("run-1", TARGET, BEGINNING, 1))
    told = at(url, "stats", "--json").json()
    assert [(each["target"], each["rows"]) for each in told["targets"]] == [(TARGET, 30), (OTHER, 5)]
    assert (told["quarantine"], told["readers"][0]["lag_rows"]) == ({"not_finite": 1}, 30)
    doctor = at(url, "doctor")
    assert (doctor.code, "run-1 has 30 rows of mage/combat_dqn unread" in doctor.out) == (1, True)
    for kind in ("parquet", "minari"):
        assert at(url, "export", "*", "--format", kind, "--output", str(tmp_path / kind)).code == 0
    file = tmp_path / "parquet" / f"{TARGET}.parquet"
    assert "30 rows of mage/combat_dqn stored" in at(url, "import", str(file)).out
    assert "30 were already" in at(url, "import", str(file)).out
    assert len(together(read(store))) == 60
    store.close()


def test_old_rows_move_to_files_of_the_run_folder(url, tmp_path):
    assert at(url, "init").code == 0
    store = open_postgres(url)
    write(store, numbered(30))
    run_dir = ("--run-dir", str(tmp_path / "run"))
    answer = at(url, "retain", "--days", "100000", *run_dir)
    assert (answer.code, "30 rows moved to 1 files" in answer.out) == (0, True), answer.err
    assert read(store) == []
    file = tmp_path / "run" / "experiences" / f"{TARGET}" / "2026-01-01.parquet"
    assert at(url, "import", str(file)).code == 0
    assert numbers(read(store)) == list(range(30))
    store.close()
