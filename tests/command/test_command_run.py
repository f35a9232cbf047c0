from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trainers.command_run import OUTPUT_LIMIT_BYTES, Call, Finished, kill_leftovers, run

ROOT = Path(__file__).parents[2]


class StopNowError(Exception):
    pass


def nothing() -> None:
    pass


def shell(script: str, folder: Path, watch: Callable[[], None] = nothing, **options: object) -> Finished:
    """The script as a user's program of several processes."""
    settings = {"timeout_s": 30.0, "stop_when_too_large": True, **options}
    return run(Call(["/bin/sh", "-c", script], folder, dict(os.environ), **settings), watch)  # type: ignore[arg-type]


def pid_in(path: Path) -> int:
    return int(path.read_text())


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_output_exit_code_and_folder_come_through(tmp_path: Path) -> None:
    finished = shell("pwd; echo oops >&2; exit 3", tmp_path)
    assert finished.stdout.decode().strip() == str(tmp_path)
    assert (finished.exit_code, finished.how, finished.error_tail) == (3, "exit code 3", "oops")
    assert not finished.timed_out


def test_a_signal_is_named(tmp_path: Path) -> None:
    assert shell("kill -SEGV $$", tmp_path).how == "killed by SIGSEGV"


def test_a_program_that_outlives_its_time_is_ended_with_all_it_started(tmp_path: Path) -> None:
    finished = shell("sleep 1000 & echo $! > child; wait", tmp_path, timeout_s=0.3)
    assert finished.timed_out
    assert gone(pid_in(tmp_path / "child"))


def test_a_program_that_ignores_being_asked_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.command_run.TERMINATE_GRACE_S", 0.1)
    finished = shell("trap '' TERM; while :; do sleep 1000; done", tmp_path, timeout_s=0.3)
    assert finished.timed_out
    assert finished.how == "killed by SIGKILL"


def test_a_program_is_asked_first_and_may_clean_up(tmp_path: Path) -> None:
    finished = shell("trap 'echo bye > cleaned; exit 0' TERM; while :; do sleep 0.01; done", tmp_path, timeout_s=0.3)
    assert finished.timed_out
    assert (tmp_path / "cleaned").exists()


def test_children_left_behind_are_killed_even_if_they_hold_the_pipes(tmp_path: Path) -> None:
    finished = shell("sleep 1000 & echo $! > child; echo done", tmp_path)
    assert finished.stdout == b"done\n"
    assert gone(pid_in(tmp_path / "child"))


def test_a_child_that_left_the_group_is_killed_and_reaped(tmp_path: Path) -> None:
    finished = shell("(setsid sh -c 'echo $$ > child; exec sleep 1000' &) ; until [ -s child ]; do :; done", tmp_path)
    assert finished.exit_code == 0
    assert not psutil.pid_exists(pid_in(tmp_path / "child"))


def test_children_that_we_had_before_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as mine:
        shell("exit 0", tmp_path)
        assert mine.poll() is None
        mine.kill()


@pytest.mark.parametrize("stop", [True, False])
def test_a_hundred_megabytes_of_output_do_not_fill_our_memory(tmp_path: Path, stop: bool) -> None:
    before_mb = psutil.Process().memory_info().rss / 2**20
    finished = shell("head -c 104857600 /dev/zero; echo; echo last", tmp_path, stop_when_too_large=stop)
    assert finished.too_large
    assert len(finished.stdout) == OUTPUT_LIMIT_BYTES
    assert finished.stdout.endswith(b"last\n") is not stop
    assert psutil.Process().memory_info().rss / 2**20 < before_mb + 30


def test_endless_output_ends_a_program_whose_answer_it_would_be(tmp_path: Path) -> None:
    finished = shell("yes", tmp_path)
    assert finished.too_large
    assert not finished.timed_out


def test_endless_errors_do_not_stop_a_program_and_only_their_end_is_kept(tmp_path: Path) -> None:
    finished = shell("yes | head -c 20000000 >&2; echo the end >&2; echo fine", tmp_path)
    assert finished.stdout == b"fine\n"
    assert finished.error_tail.endswith("the end")
    assert len(finished.stderr) < 20_000


def test_what_watch_raises_ends_the_program(tmp_path: Path) -> None:
    def stop_once_started() -> None:
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip():
            raise StopNowError

    with pytest.raises(StopNowError):
        shell("sleep 1000 & echo $! > child; wait", tmp_path, stop_once_started)
    assert gone(pid_in(tmp_path / "child"))


def test_watch_is_called_while_a_program_is_silent(tmp_path: Path) -> None:
    calls = []

    def release() -> None:
        calls.append(1)
        (tmp_path / "go").touch()

    shell("until [ -e go ]; do sleep 0.01; done", tmp_path, release)
    assert calls


def test_a_program_that_cannot_be_started_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(Call(["./no-such-program"], tmp_path, {}, 1.0), nothing)


def test_a_program_reads_nothing_from_us(tmp_path: Path) -> None:
    assert shell("cat", tmp_path).stdout == b""


def test_signals_that_we_ignore_are_not_ignored_by_the_program(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        finished = shell("kill -INT $$; echo survived", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert finished.how == "killed by SIGINT"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    shell("echo", tmp_path)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        shell("echo", tmp_path)
    assert os.listdir("/proc/self/fd") == before


TRIAL = """
import os, sys
from pathlib import Path
from trainers.command_run import Call, run
run(Call(["/bin/sh", "-c", "echo $$ > direct; sleep 1000 & echo $! > child; wait"], Path(sys.argv[1]),
    {**os.environ, "MARK": sys.argv[1]}, 1000.0), lambda: None)
"""


def test_killing_the_trial_kills_its_program_and_the_next_attempt_sweeps_up_the_rest(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", TRIAL, str(tmp_path)], cwd=ROOT) as trial:
        while not ((tmp_path / "child").exists() and (tmp_path / "child").read_text().endswith("\n")):
            assert trial.poll() is None
        direct = os.pidfd_open(pid_in(tmp_path / "direct"))
        trial.kill()
    os.set_blocking(direct, True)
    assert select.select([direct], [], [], 10)[0], "the program outlived its trial"
    os.close(direct)
    child = pid_in(tmp_path / "child")
    assert not gone(child)
    assert kill_leftovers("MARK", str(tmp_path)) == 1
    assert gone(child)
    assert kill_leftovers("MARK", str(tmp_path)) == 0
