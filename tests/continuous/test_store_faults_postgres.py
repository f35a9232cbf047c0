"""The continuous cycle on a server that is restarted, crashes, is out of reach, is too slow, or whose disk is full."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.experience.postgres import store as opening
from supervisor.experience.postgres.connection import connect
from supervisor.experience.postgres.schema import create
from supervisor.experience.postgres.store import open_postgres
from tests.support.cable import Cable
from tests.support.lesson_runs import parcels
from tests.support.postgres import Server, database, running_server
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.store_faults_conformance import (
    LastingFaults,
    StoreFaults,
    assert_stored_once,
    hand_over,
    hurried,
    keeps_books,
    undisturbed,
)
from tests.support.store_worlds import PostgresWorld, tablespace

__all__ = ["hurried", "undisturbed"]  # fixtures
SHORT = ["connection ended", "disk full"]
KEEPING_OUT = ["restarted", "cable cut"]
ALL_ROWS = b"c\0\0\0\4"  # the message that ends a COPY: the server commits at it
LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("crashed", "statements too slow")]
STATEMENT_S = 0.3

Copied = Callable[[str], PostgresWorld]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that may be stopped. Its databases `vacant` and `filled` are there to be copied."""
    with running_server() as running:
        for name in ("vacant", "filled"):
            running.make_database(name)
            create(running.address(name))
        store = open_postgres(running.address("filled"))
        store.write(parcels())
        store.close()
        yield running


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk", 64) as made:
        Path(folder).chmod(0o755)
        yield made


@pytest.fixture
def copied(
    server: Server, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Copied]:
    """Gives a world whose database is a copy of one of those two."""
    if name == "statements too slow":
        monkeypatch.setattr(opening, "connect", lambda address, statement_s: connect(address, STATEMENT_S))
    with contextlib.ExitStack() as lasting:
        small = request.getfixturevalue("disk") if name == "disk full" else None
        where = lasting.enter_context(tablespace(server, small)) if small else "pg_default"
        folder = Path(lasting.enter_context(tempfile.TemporaryDirectory()))
        cable = lasting.enter_context(contextlib.closing(Cable(folder, server.folder)))

        def copy(template: str) -> PostgresWorld:
            name = lasting.enter_context(database(server, template, where)).partition("?")[0].rpartition("/")[2]
            made = PostgresWorld(server, name, cable, small)
            made.open().close()  # the server writes what it knows of a database when somebody first connects
            return made

        yield copy
        cable.cut()


@pytest.fixture
def world(copied: Copied) -> PostgresWorld:
    return copied("filled")


@pytest.fixture
def empty(copied: Copied) -> PostgresWorld:
    return copied("vacant")


class TestPostgresFaults(StoreFaults):
    @pytest.fixture(params=[*SHORT, *KEEPING_OUT, *LONG])
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


class TestLastingPostgresFaults(LastingFaults):
    @pytest.fixture(params=[*KEEPING_OUT, *LONG])
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.parametrize("name", ["answer lost"])
class TestAnAnswerThatIsLost:
    """The database has done it, and nobody heard."""

    def test_rows_that_were_stored_are_not_stored_again(self, empty: PostgresWorld) -> None:
        assert hand_over(empty, empty.losing(b"COPY ml_experience_replay", ALL_ROWS)) == 1
        assert_stored_once(empty)

    def test_a_line_that_was_written_down_is_not_written_twice(self, empty: PostgresWorld, tmp_path: Path) -> None:
        keeps_books(empty, empty.losing(b"INSERT INTO ml_continuous_training_log", b"COMMIT"), tmp_path)
