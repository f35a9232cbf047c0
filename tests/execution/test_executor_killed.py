"""Whatever is killed, nothing is left behind and the next trial runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.execution import child, local, server_link
from supervisor.execution.executor import STDERR_NAME, ExitKind
from supervisor.execution.ladder import Patience
from supervisor.execution.local import LocalExecutor, PreloadError
from tests.support.fake_worker import BEGAN_NAME, PIDS_NAME
from tests.support.trial_folders import PATIENCE_S, begin, collect, drive_until, gone_within, launch, run

WORKER = "tests.support.fake_worker"
SOON_S = 5.0  # on a busy machine; measured on a quiet one it is 0.1 s


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    preload = ("tests.support.preload_impatient",)
    impatient = LocalExecutor(slots=2, worker=WORKER, preload=preload, patience=Patience(urgent_s=0.1))
    yield impatient
    impatient.close()


def doomed(preload: str, folders: list[Path]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.doomed_supervisor", preload, *map(str, folders)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def appeared(path: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline_s, f"{path} did not appear"
        time.sleep(0.01)


def family_of(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / PIDS_NAME).read_text().split()]


def test_a_killed_supervisor_takes_server_trials_and_their_programs_along(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("keep_family", "hold_gil", "ignore_everything")}
    for name, folder in folders.items():
        launch(folder, name)
    with doomed("[]", list(folders.values())) as supervisor:
        assert supervisor.stdout is not None
        server = int(supervisor.stdout.readline())
        for folder in folders.values():
            appeared(folder / BEGAN_NAME)
        trials = [int((folder / BEGAN_NAME).read_text()) for folder in folders.values()]
        everybody = [server, *trials, *family_of(folders["keep_family"])]
        supervisor.kill()
        survivors = [pid for pid in everybody if not gone_within(pid, SOON_S)]
    assert len(everybody) == 8
    assert survivors == []


def test_a_trial_leaves_with_its_supervisor_even_if_the_server_cannot_help(tmp_path: Path) -> None:
    launch(tmp_path, "keep_family")
    with doomed("[]", [tmp_path]) as supervisor:
        assert supervisor.stdout is not None
        server = int(supervisor.stdout.readline())
        appeared(tmp_path / BEGAN_NAME)
        trial = int((tmp_path / BEGAN_NAME).read_text())
        os.kill(server, signal.SIGSTOP)
        supervisor.kill()
        survivors = [pid for pid in (trial, *family_of(tmp_path)) if not gone_within(pid, SOON_S)]
        os.kill(server, signal.SIGCONT)
        assert gone_within(server, SOON_S)
    assert survivors == []


def test_a_supervisor_killed_while_the_server_imports_takes_it_along() -> None:
    with doomed('["tests.support.preload_never"]', []) as supervisor:
        assert supervisor.stdout is not None
        server = int(supervisor.stdout.readline())
        deadline_s = time.monotonic() + PATIENCE_S
        while "trial-forks" not in Path(f"/proc/{server}/comm").read_text():
            assert time.monotonic() < deadline_s
        supervisor.kill()
        assert gone_within(server, SOON_S)


def test_a_server_whose_supervisor_ended_before_it_asked_the_kernel_imports_nothing() -> None:
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, lifeline = os.pipe()
    control.send(json.dumps({"preload": ["tests.support.preload_never"]}).encode())
    os.close(lifeline)
    arguments = [str(theirs.fileno()), str(reading), json.dumps(sys.path), "a mark"]
    command = [sys.executable, "-c", server_link.BOOTSTRAP, *arguments]
    with control, theirs, subprocess.Popen(command, pass_fds=(theirs.fileno(), reading)) as server:
        try:
            assert server.wait(PATIENCE_S) == 0
        finally:
            server.kill()
    os.close(reading)


def test_a_killed_fork_server_ends_its_trials_and_is_replaced(executor: LocalExecutor, tmp_path: Path) -> None:
    folders = [tmp_path / "keep_family", tmp_path / "hold_gil"]
    (keeping, first), (holding, second) = [begin(executor, folder, folder.name) for folder in folders]
    server = executor.server_pid()
    os.kill(server, signal.SIGKILL)
    ends = [collect(executor, keeping), collect(executor, holding)]
    assert [gone_within(pid, 0.0) for pid in (first, second)] == [True, True]
    assert [pid for pid in family_of(folders[0]) if not gone_within(pid, 0.0)] == []
    assert {end.kind for end in ends} == {ExitKind.LOST}
    assert f"the fork server (pid {server}) ended by SIGKILL" in ends[0].detail
    assert executor.server_pid() != server
    assert run(executor, folders[0], "result").kind is ExitKind.DONE


def test_a_daemon_that_nothing_marks_as_ours_ends_with_a_killed_fork_server_too(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    handle, _ = begin(executor, tmp_path, "keep_stranger")
    (stranger,) = family_of(tmp_path)
    seen = executor._attempts[handle]
    drive_until(executor, lambda: stranger in {process.pid for process in seen.family}, "a look at the family")
    os.kill(executor.server_pid(), signal.SIGKILL)
    assert collect(executor, handle).kind is ExitKind.LOST
    assert gone_within(stranger, 0.0)


def test_a_trial_ends_with_its_fork_server_before_the_supervisor_has_noticed(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    handle, pid = begin(executor, tmp_path, "hold_gil")
    os.kill(executor.server_pid(), signal.SIGKILL)
    assert gone_within(pid, SOON_S)
    assert collect(executor, handle).kind is ExitKind.LOST


def test_the_end_of_a_trial_and_of_its_output_may_be_seen_in_any_order(tmp_path: Path) -> None:
    local_ = LocalExecutor(worker=WORKER, preload=("tests.support.preload_reordered",))
    try:
        server = local_.server_pid()
        assert [run(local_, tmp_path / str(number), "result").kind for number in range(3)] == [ExitKind.DONE] * 3
        assert local_.server_pid() == server
    finally:
        local_.close()


def test_a_fork_server_killed_while_nothing_runs_is_replaced(executor: LocalExecutor, tmp_path: Path) -> None:
    assert run(executor, tmp_path, "result").kind is ExitKind.DONE
    descriptors = len(os.listdir("/proc/self/fd"))
    os.kill(executor.server_pid(), signal.SIGKILL)
    assert run(executor, tmp_path, "result").kind in (ExitKind.DONE, ExitKind.LOST)
    assert run(executor, tmp_path, "result").kind is ExitKind.DONE
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_fork_server_that_does_not_answer_is_replaced(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, pid = begin(executor, tmp_path / "a", "ignore_everything")
    monkeypatch.setattr(local, "ANSWER_S", 0.3)
    server = executor.server_pid()
    os.kill(server, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    assert collect(executor, handle).kind is ExitKind.LOST
    assert gone_within(server, 0.0)
    assert run(executor, tmp_path / "a", "result").kind is ExitKind.DONE


def test_a_fork_server_that_does_not_fork_is_replaced(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.prepare()
    monkeypatch.setattr(local, "ANSWER_S", 0.3)
    os.kill(executor.server_pid(), signal.SIGSTOP)
    assert run(executor, tmp_path, "result").kind is ExitKind.LOST
    assert run(executor, tmp_path, "result").kind is ExitKind.DONE


def test_a_fork_server_needs_no_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/no room here")
    broken = LocalExecutor(worker=WORKER, preload=("tests.support.preload_suicide",))
    try:
        with pytest.raises(PreloadError, match="SIGKILL"):
            broken.prepare()
    finally:
        broken.close()


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    broken = LocalExecutor(worker=WORKER, preload=("json", "tests.support.preload_broken"))
    try:
        with pytest.raises(PreloadError, match=r"importing tests\.support\.preload_broken failed") as caught:
            collect(broken, broken.submit(launch(tmp_path, "result")))
        assert "RuntimeError: this module is broken" in str(caught.value)
        assert "repair the installation" in str(caught.value)
    finally:
        broken.close()


def test_a_module_that_is_not_there_is_named() -> None:
    broken = LocalExecutor(worker=WORKER, preload=("no_such_module",))
    try:
        with pytest.raises(PreloadError, match="importing no_such_module failed"):
            broken.prepare()
    finally:
        broken.close()


def test_an_import_that_kills_the_server_is_given_up_after_three_starts() -> None:
    broken = LocalExecutor(worker=WORKER, preload=("tests.support.preload_suicide",))
    try:
        with pytest.raises(PreloadError, match="SIGKILL, 3 times while it imported tests"):
            broken.prepare()
    finally:
        broken.close()


def test_a_program_left_by_an_earlier_attempt_is_ended_before_the_next(executor: LocalExecutor, tmp_path: Path) -> None:
    environment = {**os.environ, child.ENVIRONMENT_NAME: str(tmp_path.resolve())}
    (tmp_path / STDERR_NAME).touch()  # opened by every attempt before its process begins
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    with subprocess.Popen(sleep, env=environment, stdout=subprocess.PIPE, start_new_session=True) as left:
        assert left.stdout is not None
        left.stdout.readline()
        executor.submit(launch(tmp_path, "result"))
        gone = gone_within(left.pid, 0.0)
        left.kill()
    assert gone


def test_two_processes_never_work_in_one_folder(executor: LocalExecutor, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    end = run(executor, tmp_path, "result")
    assert (end.kind, end.exit_code) == (ExitKind.LOST, 12)
    assert not (tmp_path / "result.json").exists()
    os.close(folder)
    assert run(executor, tmp_path, "result").kind is ExitKind.DONE


def test_a_trial_whose_folder_is_gone_is_lost_and_the_server_lives(executor: LocalExecutor, tmp_path: Path) -> None:
    job = launch(tmp_path / "a", "result")
    shutil.rmtree(tmp_path / "a")
    end = collect(executor, executor.submit(job))
    assert end.kind is ExitKind.LOST
    assert "no process could be made" in end.detail
    server = executor.server_pid()
    assert run(executor, tmp_path / "b", "result").kind is ExitKind.DONE
    assert executor.server_pid() == server


def test_a_folder_removed_under_a_running_trial_does_not_take_the_supervisor_down(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    handle, _ = begin(executor, tmp_path / "a", "hold_gil")
    shutil.rmtree(tmp_path / "a")
    executor.stop(handle, urgent=True)
    # the program may trip over the missing folder before the signal reaches it
    assert collect(executor, handle).kind in (ExitKind.STOPPED, ExitKind.CRASHED)


def test_a_sigterm_to_everybody_leaves_the_server_alive(executor: LocalExecutor, tmp_path: Path) -> None:
    """As a service manager does that signals the whole control group: the trial saves, the server goes on."""
    handle, pid = begin(executor, tmp_path, "obey")
    server = executor.server_pid()
    for receiver in (server, pid):
        os.kill(receiver, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):  # the trial may have left at the first one
            os.kill(receiver, signal.SIGINT)
    end = collect(executor, handle)
    assert (end.kind, end.exit_code) == (ExitKind.STOPPED, 10)
    assert run(executor, tmp_path, "result").kind is ExitKind.DONE
    assert executor.server_pid() == server


def test_a_trial_can_be_stopped_while_others_run(executor: LocalExecutor, tmp_path: Path) -> None:
    one, _ = begin(executor, tmp_path / "a", "obey")
    other, pid = begin(executor, tmp_path / "b", "obey")
    executor.stop(one)
    assert collect(executor, one).kind is ExitKind.STOPPED
    drive_until(executor, lambda: executor.poll(other) is None, "the other trial")
    assert not gone_within(pid, 0.0)
    executor.stop(other)
    collect(executor, other)
