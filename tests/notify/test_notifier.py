"""The protocol itself: who is spoken to, when a beat is due, and that nobody is ever waited for."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from supervisor.notify import Notifier
from tests.support.service_manager import ServiceManager


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def last(manager: ServiceManager) -> dict[str, str]:
    count = len(manager.messages)
    manager.forget()
    assert len(manager.messages) <= count + 1
    return manager.messages[-1] if len(manager.messages) > count else {}


def test_the_first_turn_says_ready_and_every_change_of_status_is_told_once(tmp_path: Path, clock: Clock) -> None:
    with ServiceManager.at(tmp_path) as manager:
        notifier = Notifier(manager.address, None, clock)
        notifier.starting("recovering")
        assert last(manager) == {"STATUS": "recovering"}
        notifier.turn("iteration 1")
        assert last(manager) == {"READY": "1", "STATUS": "iteration 1"}
        notifier.turn("iteration 1")
        assert last(manager) == {}
        notifier.turn("iteration\n2")
        assert last(manager) == {"STATUS": "iteration 2"}
        notifier.stopping("saving")
        assert last(manager) == {"STOPPING": "1", "STATUS": "saving"}


def test_a_beat_is_due_after_a_third_of_the_timeout_and_no_sooner(tmp_path: Path, clock: Clock) -> None:
    with ServiceManager.at(tmp_path) as manager:
        environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}
        notifier = Notifier.from_environment(environ)
        notifier._monotonic_s = clock
        notifier.turn("")
        assert last(manager) == {"READY": "1", "WATCHDOG": "1"}
        clock.now_s += 29.9
        notifier.turn("")
        assert last(manager) == {}
        clock.now_s += 0.2
        notifier.beat()
        assert last(manager) == {"WATCHDOG": "1"}


@pytest.mark.parametrize(
    "watchdog", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "many"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_nobody_or_another_process_being_watched_we_send_no_beat(tmp_path: Path, watchdog: dict[str, str]) -> None:
    with ServiceManager.at(tmp_path) as manager:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address, **watchdog})
        notifier.starting("")
        notifier.turn("")
        assert last(manager) == {"READY": "1"}


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}


def test_an_abstract_address_is_reached(clock: Clock) -> None:
    with ServiceManager(f"@incumbent-test-{os.getpid()}") as manager:
        Notifier(manager.address, 1.0, clock).turn("here")
        assert last(manager) == {"READY": "1", "STATUS": "here", "WATCHDOG": "1"}


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/does/not/exist", "/" + "x" * 200])
def test_an_address_where_nobody_listens_is_no_failure(address: str | None, clock: Clock) -> None:
    notifier = Notifier(address, 1.0, clock)
    notifier.starting("recovering")
    notifier.turn("iteration 1")
    notifier.beat()
    notifier.stopping("saving")


def test_what_a_full_or_late_socket_did_not_take_is_said_again(tmp_path: Path, clock: Clock) -> None:
    late = ServiceManager.at(tmp_path)
    notifier = Notifier(late.address, 1.0, clock)
    notifier.turn("iteration 1")
    with late:
        notifier.turn("iteration 1")
        assert last(late) == {"READY": "1", "STATUS": "iteration 1", "WATCHDOG": "1"}
        for number in range(1000):  # more than a socket's queue holds, and nobody takes them out
            notifier.turn(f"iteration {number}")
        late.forget()
        notifier.turn("iteration 999")
        assert last(late)["STATUS"] == "iteration 999"


def test_a_process_that_can_open_nothing_more_goes_on_unheard_and_is_heard_later(tmp_path: Path, clock: Clock) -> None:
    with ServiceManager.at(tmp_path) as manager:
        notifier = Notifier(manager.address, 1.0, clock)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            notifier.turn("iteration 1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        notifier.turn("iteration 1")
        assert last(manager) == {"READY": "1", "STATUS": "iteration 1", "WATCHDOG": "1"}


def test_a_status_with_a_path_that_is_no_text_is_told_all_the_same(tmp_path: Path, clock: Clock) -> None:
    with ServiceManager.at(tmp_path) as manager:
        Notifier(manager.address, None, clock).turn("serving " + os.fsdecode(b"run-\xff"))
        assert last(manager) == {"READY": "1", "STATUS": "serving run-?"}
