"""The intake with PostgreSQL behind it: a database that is restarted costs time and no row."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from supervisor.experience.intake.options import IntakeOptions
from supervisor.experience.opening import open_store
from supervisor.experience.postgres.schema import create
from supervisor.experience.sender import ExperienceSender
from supervisor.experience.store import Selection
from tests.support import onnx_models as models
from tests.support.experiences import numbers, read
from tests.support.postgres import Server, running_server
from tests.support.processes import wait_for
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATE = np.linspace(-1, 1, models.STATE, dtype=np.float32)


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with running_server() as database:
        yield database


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    return folder


def taking(database: Server) -> IntakeOptions:
    return IntakeOptions(commit_ms=0, url=database.url)


def play(sender: ExperienceSender, first: int, count: int) -> None:
    for number in range(first, first + count):
        assert sender.add(TARGET, STATE, number % 10, number, STATE, done=False)


def test_a_database_that_is_restarted_in_mid_send_has_every_row_once(database: Server, folder: ServedFolder) -> None:
    with (
        ServerProcess(folder.path, taking=taking(database)) as server,
        ExperienceSender(f"http://127.0.0.1:{server.port}", client="game-1", batch_rows=16) as sender,
    ):
        play(sender, 0, 20)
        wait_for("it to be refused", lambda: sender.counts.retries > 0)
        server.wait_for_line("experiences are refused", "store init")
        create(database.url)
        for turn, how in enumerate((signal.SIGQUIT, signal.SIGINT)):
            before = sender.counts.accepted
            play(sender, 20 + 400 * turn, 400)
            wait_for("some to be stored", lambda before=before: sender.counts.accepted > before)
            database.stop(how)
            database.start()
        sender.add("mage/combat_dqn\0", STATE, 1, 1, STATE, done=False)
        sender.flush(60)
        assert sender.counts.accepted == 820
        assert sender.counts.quarantined == {"unknown_target": 1}
    with contextlib.closing(open_store(database.url, folder.path)) as store:
        assert numbers(read(store, Selection(TARGET))) == list(range(820))
