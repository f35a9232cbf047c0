"""The continuous cycle on a file that another has, that is gone, that is none, or whose disk is full."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.experience.sqlite import connection
from tests.support.lesson_runs import parcels
from tests.support.small_disk import small_disk
from tests.support.store_faults_conformance import LastingFaults, StoreFaults, hurried, undisturbed
from tests.support.store_worlds import SqliteWorld

__all__ = ["hurried", "undisturbed"]  # fixtures


@pytest.fixture
def empty(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteWorld]:
    monkeypatch.setattr(connection, "BUSY_S", 0.05)
    with contextlib.ExitStack() as lasting:
        disk = lasting.enter_context(small_disk(tmp_path / "disk", 16)) if name == "disk full" else None
        (tmp_path / "play").mkdir()
        made = SqliteWorld(tmp_path / "play", disk)
        made.open().close()
        yield made


@pytest.fixture
def world(empty: SqliteWorld) -> SqliteWorld:
    store = empty.open()
    store.write(parcels())
    store.close()
    return empty


KEEPING_OUT = ["another has it alone", "gone", "no database", "disk full"]


class TestSqliteFaults(StoreFaults):
    @pytest.fixture(params=["another writes", *KEEPING_OUT])
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


class TestLastingSqliteFaults(LastingFaults):
    @pytest.fixture(params=KEEPING_OUT)
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)
