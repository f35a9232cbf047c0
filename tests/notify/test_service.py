"""A real supervisor and a real server under a service manager that listens at a real socket."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.command_line import NoopFolder
from tests.support.onnx_models import mlp
from tests.support.processes import ROOT, console, start, wait_for
from tests.support.served_folder import ServedFolder
from tests.support.service_manager import WATCHDOG_S, ServiceManager, is_beat, is_ready, is_stopping


class Started:
    """A supervisor process, ended at the end whatever happened."""

    def __init__(self, folder: NoopFolder, manager: ServiceManager, **environ: str) -> None:
        self.folder = folder
        self.manager = manager
        self.process = start(folder.run_dir, *folder.flags, environ={**manager.environ, **environ})

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with ServiceManager.at(tmp_path) as listening:
        yield listening


@pytest.fixture
def folder(finished_run: NoopFolder, tmp_path: Path) -> NoopFolder:
    return finished_run.copy(tmp_path)


@pytest.fixture(scope="module")
def shared(finished_run: NoopFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A supervisor at work, as every test that uses it leaves it."""
    base = tmp_path_factory.mktemp("shared")
    with ServiceManager.at(base) as manager, Started(finished_run.copy(base), manager) as run:
        assert manager.hears(is_ready), console(run.folder.run_dir)
        yield run


def test_it_is_ready_after_recovery_and_tells_of_each_iteration(shared: Started) -> None:
    manager = shared.manager
    assert manager.messages[0]["STATUS"] == "recovering"
    [ready] = [message for message in manager.messages if is_ready(message)]
    assert ready["STATUS"].startswith("iteration 12, best win rate ")
    first = manager.hears_status("iteration ")
    number = int(first.split()[1].rstrip(","))
    manager.hears_status(f"iteration {number + 1}, best win rate ")
    assert manager.hears_beats(2)
    assert sum(map(is_ready, manager.messages)) == 1


def test_a_supervisor_that_is_stopped_sends_no_beat_until_it_goes_on(shared: Started) -> None:
    manager, process = shared.manager, shared.process
    process.send_signal(signal.SIGSTOP)
    wait_for("it is stopped", lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    manager.forget()
    assert manager.hears(is_beat, timeout_s=2 * WATCHDOG_S) is None
    process.send_signal(signal.SIGCONT)
    assert manager.hears_beats(1)


def test_nothing_below_the_supervisor_can_speak_for_the_service(shared: Started) -> None:
    below = psutil.Process(shared.process.pid).children(recursive=True)
    assert below  # the fork server at least; a trial is a fork of it
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):  # a trial that has ended meanwhile
            assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & process.environ().keys()


def test_a_pause_is_told_and_beats_go_on_in_it(shared: Started) -> None:
    manager = shared.manager
    shared.folder.call("pause")
    manager.hears_status("paused; iteration ")
    manager.forget()
    assert manager.hears_beats(2)
    assert not any("STATUS" in message for message in manager.messages[-2:])
    shared.folder.call("resume")
    manager.hears_status("iteration ")


def test_a_full_disk_is_told_and_beats_go_on_until_there_is_room_again(shared: Started) -> None:
    manager, pid = shared.manager, shared.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (10, hard))  # writes find no room beyond ten bytes
    manager.hears_status("disk full; iteration ")
    manager.forget()
    assert manager.hears_beats(2)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert manager.hears(lambda message: message.get("STATUS", "").startswith("iteration "))


def test_waiting_for_resources_is_told_beats_go_on_in_it_and_leaving_is_told(
    folder: NoopFolder, manager: ServiceManager
) -> None:
    with Started(folder, manager, INCUMBENT_RESOURCES__MIN_FREE_DISK_MB=str(10**9)) as run:
        manager.hears_status("waiting for resources; iteration 12, ")
        assert manager.hears_beats(2)
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(timeout=60) == 0, console(folder.run_dir)
        manager.forget()
        leaving = [message for message in manager.messages if is_stopping(message)]
        assert leaving == [manager.messages[-1]]
        assert leaving[0]["STATUS"].startswith("saving; iteration 12, ")


def test_a_loop_that_hangs_sends_no_beat_though_its_process_lives_and_says_where(
    folder: NoopFolder, manager: ServiceManager
) -> None:
    with Started(folder, manager) as run:
        assert manager.hears(is_ready)
        assert manager.hears_beats(1)
        events = folder.run_dir / "events.jsonl"
        events.unlink()
        os.mkfifo(events)  # whoever opens it to write waits for a reader that never comes
        folder.call("pause")
        wait_for("the pause is told", lambda: "-- paused" in console(folder.run_dir))
        manager.forget()
        assert manager.hears(is_beat, timeout_s=2 * WATCHDOG_S) is None
        assert run.process.poll() is None
        run.process.send_signal(signal.SIGABRT)  # what systemd does then
        assert run.process.wait(timeout=60) == -signal.SIGABRT
        assert "in append" in console(folder.run_dir)  # the function that hung


def test_a_crash_says_nothing_of_leaving(folder: NoopFolder, manager: ServiceManager) -> None:
    """The script starts it again: a unit that was told of leaving would be taken down meanwhile."""
    with Started(folder, manager) as run:
        assert manager.hears(is_ready)
        shutil.move(folder.run_dir / "trials", folder.run_dir / "gone")
        (folder.run_dir / "trials").touch()
        assert run.process.wait(timeout=60) != 0
        manager.forget()
        assert not any(map(is_stopping, manager.messages))


@pytest.fixture
def server(tmp_path: Path, manager: ServiceManager) -> Iterator[subprocess.Popen[bytes]]:
    ServedFolder(tmp_path / "served").promote(mlp(seed=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "serve", "--run-dir", str(tmp_path / "served"), "--port", "0"],
        cwd=ROOT,
        env={**os.environ, **manager.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait()


def test_the_server_is_ready_once_it_answers_tells_what_it_serves_and_beats_from_its_event_loop(
    server: subprocess.Popen[bytes], manager: ServiceManager
) -> None:
    manager.hears_status("loading the models")
    ready = manager.hears(is_ready)
    assert ready is not None
    assert ready["STATUS"].startswith("serving 1 model of ")
    url = ready["STATUS"].rpartition(" on ")[2]
    with urllib.request.urlopen(f"{url}/ready", timeout=30) as answer:
        assert answer.status == 200
    assert manager.hears_beats(2)
    server.send_signal(signal.SIGSTOP)
    wait_for("it is stopped", lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED)
    manager.forget()
    assert manager.hears(is_beat, timeout_s=2 * WATCHDOG_S) is None
    server.send_signal(signal.SIGCONT)
    assert manager.hears_beats(1)
    server.terminate()
    assert server.wait(timeout=60) == 0
    manager.forget()
    assert is_stopping(manager.messages[-1])
