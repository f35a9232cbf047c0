"""`incumbent collect`: experience by the script, by random play and out of a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import psycopg
import pytest

from supervisor.experience.opening import URL_VARIABLE
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.journal import durable
from tests.support.command_line import call, process
from tests.support.experiences import experiences, write
from tests.support.postgres import server

pytestmark = pytest.mark.usefixtures("inline_jobs")
SMALL = ("--samples-per-archetype", "300")
TABLE = """CREATE TABLE ml_experience_replay (id bigserial, archetype text, state {kind}, action int, reward real,
    next_state {kind}, done bool)"""


def collect(output: Path, *flags: str):
    return call("collect", "--run-dir", str(output / "none"), "--output", str(output), *flags)


def files(output: Path) -> dict[str, dict[str, object]]:
    return json.loads((output / "manifest.json").read_text())["files"]


def data(output: Path, archetype: str) -> dict[str, np.ndarray]:
    with np.load(output / f"{archetype}.npz", allow_pickle=False) as found:
        return dict(found)


@pytest.mark.parametrize("source", ["traditional", "synthetic"])
def test_fights_are_kept_one_after_the_other_with_where_each_step_led(tmp_path, source):
    assert collect(tmp_path, "--archetypes", "mage", "--source", source, *SMALL).code == 0
    found = data(tmp_path, "mage")
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "states": ("float32", (300, 64)),
        "actions": ("int64", (300,)),
        "rewards": ("float32", (300,)),
        "next_states": ("float32", (300, 64)),
        "done": ("bool", (300,)),
    }
    goes_on = ~found["done"][:-1]
    assert found["done"].any()
    assert (found["next_states"][:-1][goes_on] == found["states"][1:][goes_on]).all()
    assert (found["next_states"][:-1][~goes_on] != found["states"][1:][~goes_on]).any(axis=1).all()
    assert set(np.unique(found["actions"])) <= set(range(10))


def test_all_archetypes_come_with_a_manifest_and_the_same_seed_gives_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        assert collect(tmp_path / folder, "--all", "--seed", "5", *SMALL).code == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(files(tmp_path / "one")) == 6
    for name, entry in files(tmp_path / "one").items():
        path = tmp_path / "one" / entry["file"]
        assert (path.name, entry["samples"]) == (f"{name}.npz", 300)
        assert durable.sha256_file(path) == entry["sha256"]
    assert collect(tmp_path / "three", "--all", "--seed", "6", *SMALL).code == 0
    assert {e["sha256"] for e in files(tmp_path / "three").values()}.isdisjoint(
        e["sha256"] for e in files(tmp_path / "one").values()
    )


def test_what_is_there_as_asked_for_is_not_collected_again(tmp_path):
    flags = ("--archetypes", "mage,tank", *SMALL)
    assert collect(tmp_path, *flags).code == 0
    (tmp_path / "tank.npz").write_bytes(b"damaged")
    kept = (tmp_path / "mage.npz").stat().st_mtime_ns
    again = collect(tmp_path, *flags)
    assert "mage: is there as asked for" in again.out
    assert "tank: 300 samples" in again.out
    assert (tmp_path / "mage.npz").stat().st_mtime_ns == kept
    assert "mage: 400 samples" in collect(tmp_path, "--archetypes", "mage", "--samples-per-archetype", "400").out


def test_what_was_collected_can_be_analyzed(tmp_path):
    assert collect(tmp_path, "--archetypes", "aggressive", *SMALL).code == 0
    answer = call("analyze-rewards", "--data", str(tmp_path))
    assert answer.code == 0
    assert "aggressive: as collected in aggressive.npz" in answer.out


def test_it_works_in_a_process_of_its_own(tmp_path):
    answer = process("collect", "--run-dir", str(tmp_path), "--archetypes", "tank", *SMALL)
    assert answer.code == 0, answer.err
    assert (tmp_path / "data" / "tank.npz").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--all"),
        (("--all", "--source", "dreams"), "there are traditional, synthetic, database"),
        (("--archetypes", "bard"), "'bard': no such name"),
    ],
)
def test_what_does_not_exist_is_refused(tmp_path, flags, said):
    answer = collect(tmp_path, *flags)
    assert answer.code == 2
    assert said in answer.err


def test_where_no_store_is_exit_code_5_says_what_names_one(tmp_path):
    answer = collect(tmp_path, "--archetypes", "mage", "--source", "database")
    assert answer.code == 5
    assert "no store is there" in answer.err
    assert URL_VARIABLE in answer.err


def test_the_former_name_of_the_address_is_refused_with_the_present_one(tmp_path, monkeypatch):
    monkeypatch.setenv("INCUMBENT_DATABASE_URL", f"postgresql://me@/x?host={tmp_path}")
    answer = collect(tmp_path, "--archetypes", "mage", "--source", "database")
    assert answer.code == 2
    assert f"INCUMBENT_DATABASE_URL is called {URL_VARIABLE} now" in answer.err
    assert collect(tmp_path, "--archetypes", "mage", *SMALL).code == 0
    monkeypatch.setenv(URL_VARIABLE, f"sqlite:///{tmp_path}/experiences.db")
    SqliteStore(tmp_path / "experiences.db").close()
    assert collect(tmp_path, "--archetypes", "tank", "--source", "database").code == 1


def test_the_run_folders_own_store_is_a_source_and_what_it_has_not_enough_of_is_collected_again(tmp_path):
    rows = experiences(300, width=64)
    rows.rewards[4] = np.inf
    store = SqliteStore(tmp_path / "experiences.db")
    flags = ("collect", "--run-dir", str(tmp_path), "--archetypes", "mage", "--source", "database")
    assert "the store has no experience of mage/combat_dqn" in call(*flags).out
    write(store, rows)
    write(store, experiences(5, width=64, controls=2, first=1000), "mage/soft_actor_critic")
    for samples, kept, out in ((299, 299, "1 rows left out"), (299, 299, "is there as asked for"), (3, 3, "3 samples")):
        answer = call(*flags, "--samples-per-archetype", str(samples))
        assert (answer.code, out in answer.out) == (0, True), answer
        assert len(data(tmp_path / "data", "mage")["rewards"]) == kept
    write(store, experiences(7, width=8))
    store.close()
    answer = call(*flags, "--samples-per-archetype", "1000")
    assert "299 samples" in answer.out
    assert "8 rows left out" in answer.out
    found = data(tmp_path / "data", "mage")
    assert (found["states"] == np.delete(rows.states, 4, axis=0)).all()
    assert (found["actions"] == np.delete(rows.actions, 4)).all()
    assert found["actions"].dtype == np.int64


def test_rows_with_controls_among_those_of_a_choice_are_exit_code_6(tmp_path):
    store = SqliteStore(tmp_path / "experiences.db")
    write(store, experiences(5, width=64), "mage/combat_dqn")
    write(store, experiences(5, width=64, controls=2, first=5), "mage/combat_dqn")
    store.close()
    answer = call("collect", "--run-dir", str(tmp_path), "--archetypes", "mage", "--source", "database")
    assert answer.code == 6
    assert "mage/combat_dqn chooses one of a few, and some of its rows do not" in answer.err


def test_a_database_that_does_not_answer_is_exit_code_5_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, f"postgresql://me:secret@/x?host={tmp_path}")
    answer = collect(tmp_path / "out", "--archetypes", "mage", "--source", "database")
    assert answer.code == 5
    assert "see that it runs" in answer.err
    assert "secret" not in answer.err


@pytest.fixture(scope="module")
def address():
    with server() as found:
        yield found


class TestFromPostgreSQL:
    @pytest.fixture
    def table(self, address, monkeypatch):
        monkeypatch.setenv(URL_VARIABLE, address)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS ml_experience_replay")
            yield connection

    def fill(self, table, kind, convert):
        table.execute(TABLE.format(kind=kind))
        states = np.random.default_rng(3).standard_normal((6, 64), np.float32)
        states[4, 7] = np.nan
        for number in range(5):
            table.execute(
                "INSERT INTO ml_experience_replay (archetype, state, action, reward, next_state, done)"
                " VALUES ('mage', %s, %s, %s, %s, %s)",
                [convert(states[number]), number, number / 2, convert(states[number + 1]), number == 2],
            )
        return states

    @pytest.mark.parametrize(
        ("kind", "convert"),
        [
            ("bytea", lambda row: row.tobytes()),
            ("real[]", lambda row: row.tolist()),
            ("text", lambda row: json.dumps(row.tolist())),
        ],
    )
    def test_experience_is_read_in_order_and_rows_that_are_none_are_counted(self, table, tmp_path, kind, convert):
        states = self.fill(table, kind, convert)
        answer = collect(tmp_path, "--archetypes", "mage", "--source", "database")
        assert answer.code == 0, answer.err
        assert "2 rows left out" in answer.out
        found = data(tmp_path, "mage")
        assert (found["states"] == states[:3]).all()
        assert (found["next_states"] == states[1:4]).all()
        assert found["actions"].tolist() == [0, 1, 2]
        assert found["rewards"].tolist() == [0.0, 0.5, 1.0]
        assert found["done"].tolist() == [False, False, True]
        assert collect(tmp_path, "--archetypes", "tank", "--source", "database").code == 1

    def test_a_missing_table_and_a_missing_column_are_exit_code_5(self, table, tmp_path):
        answer = collect(tmp_path, "--archetypes", "mage", "--source", "database")
        assert (answer.code, "no table ml_experience_replay" in answer.err) == (5, True)
        table.execute("CREATE TABLE ml_experience_replay (archetype text)")
        answer = collect(tmp_path, "--archetypes", "mage", "--source", "database")
        assert (answer.code, "lacks id, state" in answer.err) == (5, True)
