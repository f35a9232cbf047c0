from __future__ import annotations

import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.execution.ending import EXIT_FENCED, Remains, judge
from supervisor.execution.executor import ExitKind
from supervisor.execution.ladder import Cause

NOTHING = Remains(exit_code=None, signal=None, cause=None, reason="", kernel_kills=0, tail="")


def kind(**changes: object) -> ExitKind:
    return judge(replace(NOTHING, **changes))[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("cause", [None, *Cause])
def test_a_result_counts_even_if_the_trial_was_about_to_be_killed(cause: Cause | None) -> None:
    assert kind(exit_code=0, cause=cause) is ExitKind.DONE


def test_a_hung_trial_that_still_saved_goes_on_later() -> None:
    assert kind(exit_code=10, cause=Cause.HUNG) is ExitKind.STOPPED


def test_a_trial_that_saved_beyond_its_wall_time_is_over_its_budget() -> None:
    assert kind(exit_code=10, cause=Cause.WALL_TIME) is ExitKind.WALL_TIME


def test_a_trial_without_room_on_the_disk_goes_on_later_unless_its_time_is_up() -> None:
    assert kind(exit_code=13) is ExitKind.DISK_FULL
    assert kind(exit_code=13, cause=Cause.STOP) is ExitKind.DISK_FULL
    assert kind(exit_code=13, cause=Cause.WALL_TIME) is ExitKind.WALL_TIME


def test_a_trial_that_the_machine_had_no_process_for_goes_on_later() -> None:
    assert kind(exit_code=14) is ExitKind.REFUSED


def test_a_trial_asked_to_stop_that_fails_by_itself_is_a_crash() -> None:
    assert kind(exit_code=1, cause=Cause.STOP) is ExitKind.CRASHED
    assert kind(signal=signal.SIGSEGV, cause=Cause.STOP) is ExitKind.CRASHED
    assert kind(signal=signal.SIGKILL, cause=Cause.STOP) is ExitKind.STOPPED


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_another_kill() -> None:
    assert kind(signal=signal.SIGKILL, kernel_kills=1) is ExitKind.OUT_OF_MEMORY
    assert kind(signal=signal.SIGKILL) is ExitKind.CRASHED
    assert kind(signal=signal.SIGSEGV, kernel_kills=1) is ExitKind.CRASHED


@pytest.mark.parametrize(
    "last",
    [
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 GiB",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you",
        "OSError: [Errno 12] Cannot allocate memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    ],
)
def test_the_last_words_of_an_allocator_mean_out_of_memory(last: str) -> None:
    assert kind(exit_code=1, tail=f"a line\n{last}\n") is ExitKind.OUT_OF_MEMORY


def test_words_about_memory_that_are_not_the_last_error_mean_nothing() -> None:
    survived = "MemoryError: survived\n" + "a line\n" * 10
    quoted = "Traceback (most recent call last):\n  raise MemoryError if bad else ValueError\nValueError: no\n"
    assert kind(exit_code=1, tail=survived) is ExitKind.CRASHED
    assert kind(exit_code=1, tail=quoted) is ExitKind.CRASHED


def test_a_trial_that_found_its_folder_taken_is_lost_not_crashed() -> None:
    assert kind(exit_code=EXIT_FENCED) is ExitKind.LOST


def test_the_words_name_the_signal_and_the_reason() -> None:
    assert judge(replace(NOTHING, signal=9))[1] == "ended by SIGKILL"
    assert judge(replace(NOTHING, signal=64))[1] == "ended by SIGRTMAX"
    assert judge(replace(NOTHING, exit_code=3))[1] == "left with exit code 3"
    words = judge(replace(NOTHING, signal=9, cause=Cause.HUNG, reason="it gave no sign of life for 120 s"))[1]
    assert words == "hung; it gave no sign of life for 120 s"


@given(
    code=st.none() | st.integers(0, 255),
    number=st.integers(1, 64),
    cause=st.none() | st.sampled_from(Cause),
    kills=st.integers(0, 3),
    tail=st.text(),
)
def test_every_end_has_a_meaning_and_words(
    code: int | None, number: int, cause: Cause | None, kills: int, tail: str
) -> None:
    signal_number = None if code is not None else number
    found, words = judge(Remains(code, signal_number, cause, "", kills, tail))
    assert words
    assert (found is ExitKind.DONE) == (code == 0)
