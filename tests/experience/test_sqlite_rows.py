"""A row as one piece of bytes: nothing of it is lost, and a file of the first schema becomes one of these."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.experience.caretaker import DAY_US, Span
from supervisor.experience.migrations import migrations
from supervisor.experience.opening import caretaker_of
from supervisor.experience.rows import Experiences, joined
from supervisor.experience.sqlite import connection as opening
from supervisor.experience.sqlite.packing import MOST_CONTROLS, packed, packed_cells, shape_of, unpacked
from supervisor.experience.sqlite.store import COLUMNS, SqliteStore
from supervisor.experience.store import Position, Selection, StoreDownError
from tests.support.experiences import END, NOON_US, OTHER, TARGET, experiences, read, same, together, write

FIRST = (
    "timestamp",
    "state",
    "action",
    "controls",
    "reward",
    "next_state",
    "done",
    "priority",
    "episode",
    "step",
    "version",
)
VISIBLE = {
    "timestamp": "times",
    "action": "actions",
    "reward": "rewards",
    "done": "done",
    "priority": "priorities",
    "episode": "episodes",
    "step": "steps",
    "version": "versions",
}


def first_cells(rows: Experiences) -> list[tuple[object, ...]]:
    """In the order of FIRST, as the first schema had them."""
    columns = (
        rows.times.tolist(),
        [state.tobytes() for state in rows.states],
        rows.actions.tolist(),
        [numbers.tobytes() for numbers in rows.controls],
        rows.rewards.tolist(),
        [state.tobytes() for state in rows.next_states],
        *(column.tolist() for column in (rows.done, rows.priorities, rows.episodes, rows.steps, rows.versions)),
    )
    return list(zip(*columns, strict=True))


@pytest.fixture
def old(tmp_path):
    """A file of the first schema, as a connection."""
    connection = sqlite3.connect(tmp_path / "experiences.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.executescript(migrations("sqlite")[0].sql)
    connection.execute("PRAGMA user_version = 1")
    yield connection
    connection.close()


def put(connection: sqlite3.Connection, rows: Experiences, target: str = TARGET) -> None:
    names = ", ".join(f'"{name}"' for name in FIRST)
    insert = f"INSERT INTO ml_experience_replay (archetype, model_type, {names}) VALUES (?, ?{', ?' * len(FIRST)})"
    connection.executemany(insert, [(*target.split("/"), *cells) for cells in first_cells(rows)])


numbers = st.integers(0, 9)


class TestPieces:
    @given(count=st.integers(1, 20), width=numbers, controls=numbers, seed=st.integers(0, 2**32 - 1))
    def test_they_give_back_every_bit_and_the_first_schema_gave_the_same_ones(self, count, width, controls, seed):
        rng, rows = np.random.default_rng(seed), experiences(count, seed, width, controls)
        bits = {
            name: rng.integers(0, 2**32, getattr(rows, name).shape, np.uint32).view(np.float32)
            for name in ("states", "next_states", "controls", "rewards", "priorities")
        }
        odd = replace(rows, **bits)
        pieces = packed(odd)
        assert same(unpacked(pieces), odd)
        assert {shape_of(piece) for piece in pieces} == {(width, rows.controls.shape[1])}
        asked = replace(
            odd, rewards=rows.rewards, priorities=rows.priorities
        )  # no NaN in the first schema's own numbers
        assert [packed_cells(*cells) for cells in first_cells(asked)] == packed(asked)

    @given(shapes=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=5, unique=True))
    def test_those_of_several_shapes_are_never_taken_for_one(self, shapes):
        pieces = [piece for width, count in shapes for piece in packed(experiences(3, 0, width, count))]
        with pytest.raises(ValueError, match=r"numbers are mixed; ask for one width"):
            unpacked(pieces)

    def test_columns_that_do_not_fit_together_make_none(self):
        rows, wide = experiences(3), np.zeros((3, MOST_CONTROLS + 1), np.float32)
        others = ({"times": rows.times[:1]}, {"next_states": rows.next_states[:, :1]}, {"controls": wide})
        for broken in others:
            with pytest.raises(ValueError, match="do not fit together"):
                packed(replace(rows, **broken))

    @pytest.mark.parametrize(
        "broken",
        [
            {"state": b"123"},
            {"next_state": bytes(4)},
            {"controls": b"1"},
            {"action": 2**31},
            {"reward": 1e300},
            {"time": "now"},
        ],
    )
    def test_cells_that_are_no_row_make_none(self, broken):
        names = ("time", *FIRST[1:])
        cells = dict(zip(names, first_cells(experiences(1))[0], strict=True))
        assert packed_cells(**cells) == packed(experiences(1))[0]
        assert packed_cells(**{**cells, **broken}) is None


class TestTable:
    def test_what_people_see_of_a_row_is_what_is_read_of_it(self, tmp_path):
        store, rows = SqliteStore(tmp_path / "experiences.db"), experiences(50)
        write(store, rows)
        seen = list(zip(*store.connection.execute(f"SELECT {COLUMNS} FROM ml_experience_replay"), strict=True))
        columns = dict(zip((name.strip(' "') for name in COLUMNS.split(",")), seen, strict=True))
        assert {name: list(columns[name]) for name in VISIBLE} == {
            name: getattr(rows, attribute).tolist() for name, attribute in VISIBLE.items()
        }
        assert set(columns["width"]) == {rows.width}

    def test_a_row_is_not_changed_where_people_see_it_and_nobody_reads_it(self, tmp_path):
        store = SqliteStore(tmp_path / "experiences.db")
        write(store, experiences(3))
        with pytest.raises(sqlite3.IntegrityError, match="remove it and bring it again"):
            store.connection.execute("UPDATE ml_experience_replay SET reward = 0")

    def test_what_is_no_number_is_read_as_it_was_written(self, tmp_path):
        store, rows = SqliteStore(tmp_path / "experiences.db"), experiences(3)
        rows = replace(rows, rewards=np.array([np.nan, -np.inf, -0.0], np.float32))
        write(store, rows)
        assert same(together(read(store)), rows)


class TestOldFile:
    def test_its_rows_are_read_bit_for_bit_and_stand_where_they_stood(self, old, tmp_path):
        parts = [experiences(700, 1), experiences(5, 2, controls=3), experiences(5, 3, width=12)]
        for number, part in enumerate(parts):
            put(old, part, f"mage/{number}")
        put(old, experiences(9, 4), OTHER)
        store = SqliteStore(tmp_path / "experiences.db")
        for number, part in enumerate(parts):
            assert same(together(read(store, Selection(f"mage/{number}"))), part)
        places = [page.last for page in read(store, Selection(OTHER), batch_rows=1)]
        assert places == [Position(0, id) for id in range(711, 720)]
        assert old.execute("PRAGMA user_version").fetchone() == (migrations("sqlite")[-1].number,)
        span = Span(OTHER, NOON_US - DAY_US, NOON_US + DAY_US, END)
        assert same(joined(list(caretaker_of(store).read(span))), experiences(9, 4))

    def test_the_ids_of_its_removed_rows_are_not_given_again(self, old, tmp_path):
        put(old, experiences(10))
        old.execute("DELETE FROM ml_experience_replay WHERE id > 3")
        store = SqliteStore(tmp_path / "experiences.db")
        write(store, experiences(1))
        assert read(store)[-1].last == Position(0, 11)

    def test_an_empty_one_gives_no_id_of_its_past_either(self, old, tmp_path):
        put(old, experiences(10))
        old.execute("DELETE FROM ml_experience_replay")
        store = SqliteStore(tmp_path / "experiences.db")
        write(store, experiences(1))
        assert read(store)[-1].last == Position(0, 11)

    def test_rows_that_nothing_could_read_go_to_the_quarantine(self, old, tmp_path):
        put(old, experiences(3))
        old.execute("UPDATE ml_experience_replay SET next_state = x'0102' WHERE id = 2")
        store = SqliteStore(tmp_path / "experiences.db")
        assert same(together(read(store)), experiences(3).where([0, 2]))
        found = store.connection.execute("SELECT target, reason, detail, row FROM ml_experience_quarantine").fetchall()
        assert found[0][:3] == (TARGET, "wrong_width", "state of 32 bytes, next state of 2, controls of 0")
        assert '"next_state":"0102"' in found[0][3]

    @pytest.mark.parametrize(
        ("column", "value", "told"),
        [
            ("state", "'[0.125, 0.5, 0.25, 1.0, 2.0, 4]'", '"state":"5B302E'),  # as long as eight numbers
            ("next_state", "7", '"next_state":"37"'),
            ("action", "x'0100000000000000'", '"action":"0100000000000000"'),  # as a number of numpy's is stored
            ("reward", "'good'", '"reward":"good"'),
        ],
    )
    def test_whatever_others_have_put_into_its_cells_is_no_obstacle(self, old, tmp_path, column, value, told):
        put(old, experiences(3))
        old.execute(f"UPDATE ml_experience_replay SET {column} = {value} WHERE id = 2")
        store = SqliteStore(tmp_path / "experiences.db")
        assert same(together(read(store)), experiences(3).where([0, 2]))
        [(row,)] = store.connection.execute("SELECT row FROM ml_experience_quarantine").fetchall()
        assert told in row

    def test_one_that_cannot_be_made_new_is_left_as_it_was(self, old, tmp_path, monkeypatch):
        put(old, experiences(3000))
        pieces = iter(range(2000))
        monkeypatch.setattr(opening, "packed_cells", lambda *cells: next(pieces) and packed_cells(*cells))
        with pytest.raises(StoreDownError, match="exception"):
            SqliteStore(tmp_path / "experiences.db")
        assert old.execute("SELECT count(*), sum(length(state)) FROM ml_experience_replay").fetchone() == (3000, 96_000)
        monkeypatch.undo()
        assert same(together(read(SqliteStore(tmp_path / "experiences.db"))), experiences(3000))

    def test_it_has_the_tables_and_indexes_of_a_new_one(self, old, tmp_path):
        put(old, experiences(3))
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"
        made = [
            SqliteStore(tmp_path / name).connection.execute(query).fetchall() for name in ("experiences.db", "new.db")
        ]
        assert made[0] == made[1]
        assert not [
            finding
            for finding in caretaker_of(SqliteStore(tmp_path / "experiences.db")).findings(NOON_US)
            if finding.cure
        ]


def test_what_the_rows_of_a_target_are_said_to_hold_is_about_the_file(tmp_path):
    store = SqliteStore(tmp_path / "experiences.db")
    write(store, experiences(16_384, width=64))
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overview = caretaker_of(store).overview(NOON_US)
    assert math.isclose(overview.target_bytes[TARGET], overview.bytes, rel_tol=0.05)
