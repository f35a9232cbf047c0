"""`incumbent collect --live`: real fights through a real server become experiences and outcomes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from supervisor.errors import StorageUnreachableError
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Selection
from supervisor.serving.options import WatchOptions
from tests.support.command_line import call, process
from tests.support.experiences import read, together
from tests.support.onnx_models import always
from tests.support.ports import free_port
from tests.support.processes import wait_for
from tests.support.scraping import scrape
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess
from trainers.jobs import live_client
from trainers.jobs.live_client import LiveClient

DODGE = 3


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What 6,000 steps left behind: the command's answer, the store's rows, what the server says."""
    folder = ServedFolder(tmp_path_factory.mktemp("live") / "run")
    folder.promote(always(DODGE))
    with ServerProcess(folder.path, watched=WatchOptions(settle_s=0.0)) as server:
        flags = ("--targets", TARGET, "--port", str(server.port), "--steps", "6000", "--rate", "100000", "--seed", "1")
        answer = process("collect", "--live", "--run-dir", str(folder.path), *flags)
        models = server.get("/models").body["models"]
    store = SqliteStore(folder.path / "experiences.db")
    rows = together(read(store, Selection(TARGET)))
    store.close()
    return answer, rows, models


def test_it_says_what_was_played_and_stored(played):
    answer, rows, _ = played
    assert answer.code == 0, answer.err
    assert f"{TARGET}: 6,016 steps, fights won: v000001" in answer.out
    assert "6,016 experiences stored in" in answer.out
    assert len(rows) == 6016


def test_the_steps_of_a_fight_follow_one_another_to_its_end(played):
    _, rows, _ = played
    for episode in np.unique(rows.episodes)[:20]:
        mine = np.flatnonzero(rows.episodes == episode)
        assert rows.steps[mine].tolist() == list(range(len(mine)))
        goes_on = mine[:-1]
        assert not rows.done[goes_on].any()
        assert (rows.next_states[goes_on] == rows.states[mine[1:]]).all()


def test_most_actions_are_the_models_and_some_are_tried_out(played):
    _, rows, _ = played
    assert 0.88 < (rows.actions == DODGE).mean() < 0.94  # a tenth at random, of which a tenth is the same
    assert set(rows.actions.tolist()) == set(range(10))
    assert set(rows.versions.tolist()) == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_alone_to_leave_it_says_what_came_of_it(tmp_path, number):
    """As a program that started it tells it, where no terminal tells its children too."""
    folder = ServedFolder(tmp_path / "run")
    folder.promote(always(DODGE))
    with ServerProcess(folder.path) as server:
        flags = ("--targets", TARGET, "--port", str(server.port), "--run-dir", str(folder.path))
        command = [sys.executable, "-m", "supervisor", "collect", "--live", *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as playing:
            wait_for("experiences", lambda: taken(server) > 0)
            playing.send_signal(number)
            said, _ = playing.communicate(timeout=60)
        assert playing.returncode == 0
        assert re.search(rf"{TARGET}: [\d,]+ steps, fights won: .*\n{taken(server):,} experiences stored in", said)


def taken(server):
    return int(scrape(server.port).get("incumbent_experiences_total", 0))


def test_a_server_that_does_not_come_back_is_told(monkeypatch):
    monkeypatch.setattr(live_client, "PATIENCE_S", 0.1)
    with pytest.raises(StorageUnreachableError, match="incumbent serve"):
        LiveClient("127.0.0.1", free_port(), "a").inputs_of(TARGET)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--targets"),
        (("--targets", "bard/combat_dqn"), "no built-in target; live play is there for"),
        (("--targets", "mage/spatial_vit", "--steps", "1"), "live play is there for combat_dqn, skill_dqn"),
    ],
)
def test_what_cannot_be_played_is_refused(tmp_path, flags, said):
    answer = call("collect", "--live", "--run-dir", str(tmp_path), *flags)
    assert answer.code == 2
    assert said in answer.err
