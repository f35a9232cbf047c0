"""What the README says about plain Optuna after kill -9 is measured here, and so is what it says about this program."""

from __future__ import annotations

import pytest

from tests.faults.optuna_peer import OURS, TITLES, Row, experiment, table

TRIALS, KILLED = 16, 12  # behind the ten that TPE draws at random

pytestmark = pytest.mark.slow  # three processes a way


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    base = tmp_path_factory.mktemp("peer")
    return {way: experiment(way, base / way, TRIALS, KILLED) for way in TITLES}


def test_this_program_ends_as_if_it_had_not_been_killed(rows: dict[str, Row]) -> None:
    ours = rows[OURS]
    assert (ours.finished, ours.first_different, ours.left_running, ours.error) == (TRIALS, None, 0, "")
    assert ours.evaluated_again == 1, "the trial that was killed, and no other"


@pytest.mark.parametrize("way", [way for way in TITLES if way not in (OURS, "journal_torn")])
def test_a_resumed_study_of_optuna_goes_another_way_from_the_killed_trial_on(rows: dict[str, Row], way: str) -> None:
    row = rows[way]
    assert (row.finished, row.error) == (TRIALS, "")
    assert row.first_different is not None
    assert KILLED <= row.first_different <= KILLED + 1
    assert row.left_running == (0 if way == "sqlite_heartbeat" else 1)


def test_a_torn_journal_of_optuna_cannot_be_read_again(rows: dict[str, Row]) -> None:
    assert rows["journal_torn"].finished == 0
    assert "JSONDecodeError" in rows["journal_torn"].error


def test_the_table_says_what_was_measured(rows: dict[str, Row]) -> None:
    printed = table(list(rows.values()), TRIALS, KILLED)
    for row in rows.values():
        first = "none" if row.first_different is None else str(row.first_different)
        assert f"| {TITLES[row.way]} | {row.finished} | {first} | {row.different} | {row.left_running} |" in printed
