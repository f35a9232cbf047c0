"""What a game hands over arrives, once, whatever becomes of the server meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from supervisor.experience.intake.options import IntakeOptions
from supervisor.experience.rows import Experiences, episode_number
from supervisor.experience.sender import ExperienceSender, RefusedError
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Selection
from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.experiences import numbers, read, together
from tests.support.lossy_proxy import LossyProxy
from tests.support.ports import free_port
from tests.support.processes import ROOT, wait_for
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATE = np.linspace(-1, 1, models.STATE, dtype=np.float32)
QUICK = IntakeOptions(commit_ms=0, targets=["mage/soft_actor_critic"])
PATIENCE_S = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path, taking=QUICK) as server:
        yield server


def sender_to(port: int, **options: object) -> ExperienceSender:
    return ExperienceSender(f"http://127.0.0.1:{port}", client="game-1", **options)


def play(sender: ExperienceSender, count: int, first: int = 0) -> None:
    """Steps whose rewards number them."""
    for number in range(first, first + count):
        assert sender.add(TARGET, STATE, number % 10, number, STATE[::-1], done=number % 50 == 49, step=number)


def stored(folder: ServedFolder, target: str = TARGET) -> Experiences:
    store = SqliteStore(folder.path / "experiences.db")
    try:
        return together(read(store, Selection(target)))
    finally:
        store.close()


def stored_numbers(folder: ServedFolder) -> list[int]:
    store = SqliteStore(folder.path / "experiences.db")
    try:
        return numbers(read(store, Selection(TARGET)))
    finally:
        store.close()


def test_what_a_game_hands_over_is_stored_as_it_was(server: ServerProcess, folder: ServedFolder) -> None:
    with sender_to(server.port) as sender:
        sender.add(
            TARGET, STATE, 3, -0.5, STATE * 2, done=True,
            priority=2.5, episode="fight-7", step=9, version="v000042", time_s=1_767_268_800.25,
        )  # fmt: skip
        sender.add("mage/soft_actor_critic", [1, 2], [0.5, -0.5, 0.25], 1, [3, 4], done=False)
        sender.flush(PATIENCE_S)
        assert (sender.waiting_rows, sender.counts.accepted) == (0, 2)
    rows, others = stored(folder), stored(folder, "mage/soft_actor_critic")
    np.testing.assert_array_equal(rows.states[0], STATE)
    np.testing.assert_array_equal(rows.next_states[0], STATE * 2)
    assert (rows.actions[0], rows.rewards[0], rows.done[0], rows.priorities[0]) == (3, -0.5, True, 2.5)
    assert (rows.episodes[0], rows.steps[0], rows.versions[0]) == (episode_number("fight-7"), 9, 42)
    assert rows.times[0] == 1_767_268_800_250_000
    np.testing.assert_array_equal(others.controls, [[0.5, -0.5, 0.25]])
    assert others.states.tolist() == [[1, 2]]


def test_a_full_batch_is_sent_without_being_asked_and_a_few_rows_after_a_while(
    server: ServerProcess, folder: ServedFolder
) -> None:
    with sender_to(server.port, batch_rows=10, max_delay_s=3600.0) as patient:
        play(patient, 10)
        wait_for("the batch to be stored", lambda: patient.waiting_rows == 0)
        play(patient, 3, first=10)
        with sender_to(server.port, max_delay_s=0.0) as hasty:
            play(hasty, 2, first=13)
            wait_for("them to be stored", lambda: hasty.waiting_rows == 0)
        assert patient.waiting_rows == 3
    assert sorted(stored_numbers(folder)) == list(range(15))


def test_every_row_is_stored_once_though_the_server_is_killed_again_and_again(folder: ServedFolder) -> None:
    options = ServerOptions(port=free_port())
    sender = sender_to(options.port, batch_rows=16, timeout_s=5.0)
    played = 0
    for how in (signal.SIGKILL, signal.SIGTERM):
        with ServerProcess(folder.path, options, taking=QUICK) as server:
            for _ in range(8):
                play(sender, 50, first=played)
                played += 50
            before = sender.counts.accepted
            wait_for("some to be stored", lambda before=before: sender.counts.accepted > before)
            server.process.send_signal(how)  # in mid-send
            server.process.wait(timeout=30)
    with ServerProcess(folder.path, options, taking=QUICK):
        sender.close(PATIENCE_S)
    assert stored_numbers(folder) == list(range(played))
    assert sender.counts.accepted == played
    assert sender.counts.retries > 0


def test_what_got_no_answer_is_sent_again_and_stored_once(server: ServerProcess, folder: ServedFolder) -> None:
    with LossyProxy(server.port, losing=3) as proxy:
        with sender_to(proxy.port) as sender:
            play(sender, 30)
        assert (proxy.lost, sender.counts.retries, sender.counts.accepted) == (3, 3, 30)
    assert stored_numbers(folder) == list(range(30))


def test_a_store_that_is_down_loses_nothing(folder: ServedFolder) -> None:
    blocker = folder.path / "experiences.db"
    blocker.mkdir()
    with ServerProcess(folder.path, taking=QUICK) as server, sender_to(server.port) as sender:
        play(sender, 30)
        wait_for("it to be refused", lambda: sender.counts.retries > 0)
        blocker.rmdir()
        sender.flush(PATIENCE_S)
    assert stored_numbers(folder) == list(range(30))


def test_a_row_for_which_there_is_no_room_is_told_of(folder: ServedFolder) -> None:
    sender = sender_to(free_port(), max_rows=5, batch_rows=2)
    play(sender, 5)
    assert not sender.add(TARGET, STATE, 1, 5, STATE, done=False)
    assert (sender.counts.no_room, sender.waiting_rows) == (1, 5)
    with pytest.raises(TimeoutError, match="5 rows are not stored"):
        sender.flush(0.01)
    with pytest.raises(TimeoutError):
        sender.close(0.01)
    with pytest.raises(ValueError, match="closed"):
        play(sender, 1)


def test_what_the_server_will_never_take_is_told_and_kept(folder: ServedFolder) -> None:
    guarded = ServerOptions(host="0.0.0.0", port=0, token="s3cret")
    with ServerProcess(folder.path, guarded, taking=QUICK) as server:
        sender = sender_to(server.port, token="guess")
        play(sender, 3)
        for _ in range(2):
            with pytest.raises(RefusedError, match=r"401.*unauthorized"):
                sender.flush(PATIENCE_S)
        assert sender.waiting_rows == 3
        with pytest.raises(RefusedError):
            sender.close()
        with sender_to(server.port, token="s3cret") as right:
            play(right, 3)
    assert stored_numbers(folder) == [0, 1, 2]


def test_rows_that_are_no_experiences_are_counted_with_their_reasons(server: ServerProcess) -> None:
    with sender_to(server.port) as sender:
        play(sender, 2)
        sender.add(TARGET, STATE, 10, 1, STATE, done=False)
        sender.add(TARGET, STATE * np.nan, 1, 1, STATE, done=False)
        sender.add(TARGET, STATE, 1, 1e60, STATE, done=False)
        sender.add(TARGET, [1, 2], 1, 1, [3, 4], done=False)
        sender.flush(PATIENCE_S)
        assert sender.counts.accepted == 2
        assert sender.counts.quarantined == {"action_out_of_range": 1, "not_finite": 2, "wrong_width": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "combat_dqn"},
        {"next_state": [1, 2]},
        {"action": 2**40},
        {"action": 1.5},
        {"step": 2**31},
        {"episode": 2**63},
        {"version": "latest"},
        {"state": "abc"},
    ],
)
def test_what_is_no_row_is_refused_where_it_is_made(wrong: dict[str, object]) -> None:
    sender = sender_to(free_port())
    good = {"target": TARGET, "state": STATE, "action": 1, "reward": 0.0, "next_state": STATE, "done": False}
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        sender.add(**{**good, **wrong})
    assert sender.waiting_rows == 0
    sender.close()


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a server"):
        ExperienceSender(url)


def test_a_game_needs_nothing_but_numpy_beside_it() -> None:
    code = (
        "import sys; before = set(sys.modules); import supervisor.experience.sender;"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(name for name in tops - set(sys.stdlib_module_names) if not name.startswith('_')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['numpy', 'supervisor']\n"
