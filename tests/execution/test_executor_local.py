from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.execution import child, linux
from supervisor.execution import executor as protocol
from supervisor.execution.executor import EXIT_OUT_OF_MEMORY, EXIT_STOPPED, STDERR_NAME, ExitKind
from supervisor.execution.ladder import Patience
from supervisor.execution.local import LocalExecutor
from supervisor.execution.output import HEAD_BYTES, TAIL_BYTES
from tests.support.executor_conformance import ExecutorConformance
from tests.support.fake_worker import PIDS_NAME
from tests.support.trial_folders import begin, collect, drive_until, gone_within, launch, run

WORKER = "tests.support.fake_worker"
QUICK = Patience(ask_s=0.2, terminate_s=0.2, urgent_s=0.1, hung_s=0.6)


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalExecutor]:
    local = LocalExecutor(slots=2, worker=WORKER, preload=())
    yield local
    local.close()


@pytest.fixture(scope="module")
def quick() -> Iterator[LocalExecutor]:
    local = LocalExecutor(slots=2, worker=WORKER, preload=(), patience=QUICK)
    yield local
    local.close()


class TestLocalExecutor(ExecutorConformance):
    @pytest.fixture
    def executor(self, shared: LocalExecutor) -> Iterator[LocalExecutor]:
        yield shared
        for handle in shared.list():
            shared.stop(handle, urgent=True)
            collect(shared, handle)


def test_the_exit_codes_are_those_of_the_worker() -> None:
    from trainers import worker

    ours = {name: code for name, code in vars(protocol).items() if name.startswith("EXIT_")}
    assert ours == {name: getattr(worker, name) for name in ours}


def test_a_segmentation_fault_is_a_crash_whose_traceback_is_kept(shared: LocalExecutor, tmp_path: Path) -> None:
    end = run(shared, tmp_path, "segfault")
    assert (end.kind, end.exit_code, end.signal) == (ExitKind.CRASHED, None, signal.SIGSEGV)
    assert "do_segfault" in end.detail
    assert "do_segfault" in (tmp_path / STDERR_NAME).read_text()


def test_a_kill_from_outside_is_a_crash_and_the_next_trial_runs(shared: LocalExecutor, tmp_path: Path) -> None:
    server = shared.server_pid()
    end = run(shared, tmp_path / "a", "kill_itself")
    assert (end.kind, end.signal) == (ExitKind.CRASHED, signal.SIGKILL)
    assert run(shared, tmp_path / "b", "result").kind is ExitKind.DONE
    assert shared.server_pid() == server


def test_a_trial_that_leaves_without_cleaning_up_is_a_crash(shared: LocalExecutor, tmp_path: Path) -> None:
    assert run(shared, tmp_path, "quit 255").exit_code == 255


def test_a_keyboard_interrupt_raised_in_a_trial_stays_there(shared: LocalExecutor, tmp_path: Path) -> None:
    assert run(shared, tmp_path, "raise KeyboardInterrupt").kind is ExitKind.CRASHED


def test_memory_beyond_the_budget_ends_a_trial_as_out_of_memory(shared: LocalExecutor, tmp_path: Path) -> None:
    end = run(shared, tmp_path, "allocate 200", ram_mb=64)
    assert (end.kind, end.exit_code) == (ExitKind.OUT_OF_MEMORY, EXIT_OUT_OF_MEMORY)


def test_memory_within_the_budget_is_allowed_and_its_peak_reported(shared: LocalExecutor, tmp_path: Path) -> None:
    end = run(shared, tmp_path, "allocate 200", ram_mb=1024)
    assert end.kind is ExitKind.DONE
    assert 200 <= end.peak_ram_mb < 600


def test_memory_of_a_program_the_trial_started_counts(shared: LocalExecutor, tmp_path: Path) -> None:
    end = run(shared, tmp_path, "allocate_in_child 400", ram_mb=200)
    assert end.kind is ExitKind.OUT_OF_MEMORY
    assert "200 MB are allowed" in end.detail
    assert end.peak_ram_mb >= 200


def test_a_trial_finds_its_surroundings_clean(shared: LocalExecutor, tmp_path: Path) -> None:
    assert run(shared, tmp_path, "describe").kind is ExitKind.DONE
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["main"] is None
    assert facts["pytest"] is False
    assert facts["threads"] == "1"
    assert facts["session"] is True
    assert facts["sigint_ignored"] is True
    assert facts["oom_score_adj"] >= child.OOM_SCORE


@pytest.mark.parametrize("depth", [0, 6])
def test_temporary_files_of_a_trial_lie_in_its_folder_under_a_name_that_a_socket_can_have(
    shared: LocalExecutor, tmp_path: Path, depth: int
) -> None:
    folder = tmp_path.joinpath(*["a_folder_with_a_long_name"] * depth)
    for _ in range(2):
        assert run(shared, folder, "use_temporary_files").kind is ExitKind.DONE, "an earlier attempt's files are gone"
    assert sorted(path.name for path in (folder / child.TEMPORARY_NAME).iterdir()) == ["file", "socket"]


def test_a_trial_does_not_let_onnxruntime_report_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    local = LocalExecutor(worker=WORKER, preload=())
    try:
        assert run(local, tmp_path, "describe").kind is ExitKind.DONE
    finally:
        local.close()
    assert json.loads((tmp_path / "facts.json").read_text())["telemetry"] == "1"


def test_a_trial_inherits_nothing_of_another_trial(shared: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(shared, tmp_path / "other", "obey")
    run(shared, tmp_path / "own", "open_files")
    files = (tmp_path / "own" / "files").read_text().splitlines()
    shared.stop(handle)
    collect(shared, handle)
    # standard streams, lifeline, folder lock, its own temporary folder, and the listing itself
    files = [line for line in files if not line.endswith("own/tmp")]
    assert [int(line.split()[0]) for line in files[:3]] == [0, 1, 2]
    assert len(files) == 6, files
    assert not any("other" in line or "socket" in line for line in files), files


def test_a_flood_of_output_is_capped_and_both_ends_are_kept(shared: LocalExecutor, tmp_path: Path) -> None:
    end = run(shared, tmp_path, "shout 20")
    log = (tmp_path / STDERR_NAME).read_bytes()
    assert end.exit_code == 3
    assert len(log) < HEAD_BYTES + TAIL_BYTES + 100
    assert log.startswith(b"first line\n")
    assert log.endswith(b"last line\n")
    assert b"bytes left out" in log
    assert end.detail.endswith("last line")


def test_a_silent_trial_is_killed_as_hung(quick: LocalExecutor, tmp_path: Path) -> None:
    end = run(quick, tmp_path, "fall_silent")
    assert end.kind is ExitKind.HUNG
    assert "no sign of life" in end.detail


def test_a_stopped_process_is_killed_as_hung(quick: LocalExecutor, tmp_path: Path) -> None:
    handle, pid = begin(quick, tmp_path, "obey")
    os.kill(pid, signal.SIGSTOP)
    end = collect(quick, handle)
    assert (end.kind, end.signal) == (ExitKind.HUNG, signal.SIGKILL)


def test_a_trial_that_beats_is_never_hung(quick: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(quick, tmp_path, "obey")
    deadline_s = time.monotonic() + 3 * QUICK.hung_s
    while time.monotonic() < deadline_s:
        assert quick.poll(handle) is None
        quick.wait(0.1)
    quick.stop(handle)
    assert collect(quick, handle).kind is ExitKind.STOPPED


def test_a_trial_beyond_its_wall_time_is_asked_first(quick: LocalExecutor, tmp_path: Path) -> None:
    end = run(quick, tmp_path, "obey", wall_s=0.3)
    assert (end.kind, end.exit_code) == (ExitKind.WALL_TIME, EXIT_STOPPED)
    assert (tmp_path / "how").read_text() == "asked"


def test_asking_comes_before_sigterm(shared: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(shared, tmp_path, "obey")
    shared.stop(handle)
    assert collect(shared, handle).exit_code == EXIT_STOPPED
    assert (tmp_path / "how").read_text() == "asked"


def test_a_trial_blind_to_the_file_gets_sigterm(quick: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(quick, tmp_path, "obey_sigterm")
    quick.stop(handle)
    end = collect(quick, handle)
    assert (end.kind, end.exit_code) == (ExitKind.STOPPED, EXIT_STOPPED)


def test_a_trial_that_ignores_sigterm_is_killed_and_still_counts_as_stopped(
    quick: LocalExecutor, tmp_path: Path
) -> None:
    handle, _ = begin(quick, tmp_path, "ignore_everything")
    quick.stop(handle)
    end = collect(quick, handle)
    assert (end.kind, end.signal) == (ExitKind.STOPPED, signal.SIGKILL)


def test_an_urgent_stop_does_not_wait_for_the_asking(tmp_path: Path) -> None:
    local = LocalExecutor(worker=WORKER, preload=(), patience=Patience(ask_s=600, terminate_s=600, urgent_s=0.1))
    try:
        handle, _ = begin(local, tmp_path, "ignore_everything")
        local.stop(handle)
        assert local.poll(handle) is None
        local.stop(handle, urgent=True)
        assert collect(local, handle).signal == signal.SIGKILL
    finally:
        local.close()


@pytest.mark.parametrize("do", ["leave_family", "keep_family"])
def test_nothing_a_trial_started_outlives_it(quick: LocalExecutor, tmp_path: Path, do: str) -> None:
    handle = quick.submit(launch(tmp_path, do))
    drive_until(quick, (tmp_path / PIDS_NAME).exists, "the family")
    if do == "keep_family":
        quick.stop(handle, urgent=True)
    collect(quick, handle)
    family = [int(pid) for pid in (tmp_path / PIDS_NAME).read_text().split()]
    assert len(family) == 4
    # Not one is left, not even as a zombie: the exit is given only then.
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []


def test_a_trial_in_one_long_call_into_c_can_be_killed(quick: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(quick, tmp_path, "hold_gil")
    quick.stop(handle)
    assert collect(quick, handle).signal == signal.SIGKILL


def test_a_stop_before_the_start_needs_no_process(tmp_path: Path) -> None:
    local = LocalExecutor(worker=WORKER, preload=("tests.support.preload_never",))
    try:
        handle = local.submit(launch(tmp_path, "result"))
        local.stop(handle)
        assert collect(local, handle).kind is ExitKind.STOPPED
        assert not (tmp_path / "result.json").exists()
    finally:
        local.close()


def test_a_second_attempt_in_a_folder_is_refused_while_the_first_runs(shared: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(shared, tmp_path, "obey")
    with pytest.raises(RuntimeError, match="still runs here"):
        shared.submit(launch(tmp_path, "obey"))
    shared.stop(handle)
    collect(shared, handle)


def test_a_signal_ends_the_waiting_through_its_wake_up_descriptor(shared: LocalExecutor, tmp_path: Path) -> None:
    handle, _ = begin(shared, tmp_path, "obey")
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.set_blocking(descriptor, False)
    before = signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    wakeup = signal.set_wakeup_fd(writing)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        started_s = time.monotonic()
        shared.wait(30.0, also=[reading])
        assert time.monotonic() - started_s < 2.0
        assert os.read(reading, 10) == bytes([signal.SIGUSR1])
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGUSR1, before)
        os.close(reading)
        os.close(writing)
    shared.stop(handle)
    collect(shared, handle)


def test_fifty_trials_leave_no_descriptor_and_no_zombie(shared: LocalExecutor, tmp_path: Path) -> None:
    run(shared, tmp_path / "warm", "result")

    def open_files() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{shared.server_pid()}/fd"))

    def below() -> list[str]:
        rows = [Path(f"/proc/{name}/stat") for name in os.listdir("/proc") if name.isdigit()]
        texts = [row.read_text() for row in rows if row.exists()]
        return [text for text in texts if int(text[text.rindex(")") + 2 :].split()[1]) == shared.server_pid()]

    before = open_files()
    dos = ["result", "code 3", "segfault", "kill_itself", "raise ValueError"]
    for number in range(50):
        run(shared, tmp_path / str(number), dos[number % len(dos)])
    assert open_files() == before
    assert below() == []


def test_closing_ends_every_trial_and_the_server(tmp_path: Path) -> None:
    local = LocalExecutor(slots=2, worker=WORKER, preload=())
    before = len(os.listdir("/proc/self/fd"))
    _, one = begin(local, tmp_path / "a", "ignore_everything")
    _, two = begin(local, tmp_path / "b", "hold_gil")
    server = local.server_pid()
    local.close()
    assert [gone_within(pid, 0.0) for pid in (one, two, server)] == [True, True, True]
    assert len(os.listdir("/proc/self/fd")) < before


def test_the_table_of_processes_sees_this_one() -> None:
    row = linux.processes()[os.getpid()]
    assert (row.parent, row.session) == (os.getppid(), os.getsid(0))
    assert os.getpid() in linux.descendants(os.getppid(), linux.processes())
