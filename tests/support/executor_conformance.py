"""What every executor promises. A test class inherits it and gives the fixture `executor`: two slots, fake worker."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from supervisor.execution.executor import STOP_NAME, Executor, ExitKind
from tests.support.trial_folders import collect, launch, run


class ExecutorConformance:
    def test_a_trial_that_writes_its_result_is_done(self, executor: Executor, tmp_path: Path) -> None:
        end = run(executor, tmp_path, "result")
        assert (end.kind, end.exit_code, end.signal) == (ExitKind.DONE, 0, None)
        assert (tmp_path / "result.json").exists()

    @pytest.mark.parametrize(
        ("do", "kind", "code"),
        [
            ("code 10", ExitKind.STOPPED, 10),
            ("code 11", ExitKind.OUT_OF_MEMORY, 11),
            ("code 7", ExitKind.CRASHED, 7),
            ("raise ValueError", ExitKind.CRASHED, 1),
            ("raise MemoryError", ExitKind.OUT_OF_MEMORY, 11),
        ],
    )
    def test_the_exit_code_says_how_a_trial_left(
        self, executor: Executor, tmp_path: Path, do: str, kind: ExitKind, code: int
    ) -> None:
        end = run(executor, tmp_path, do)
        assert (end.kind, end.exit_code) == (kind, code)

    def test_an_exception_stands_in_the_detail(self, executor: Executor, tmp_path: Path) -> None:
        assert "ValueError: as told" in run(executor, tmp_path, "raise ValueError").detail

    def test_a_trial_that_is_asked_to_stop_is_stopped(self, executor: Executor, tmp_path: Path) -> None:
        handle = executor.submit(launch(tmp_path, "obey"))
        executor.stop(handle)
        executor.stop(handle)
        assert collect(executor, handle).kind is ExitKind.STOPPED

    def test_a_wish_to_stop_from_before_is_withdrawn_by_a_new_attempt(self, executor: Executor, tmp_path: Path) -> None:
        job = launch(tmp_path, "result")
        (tmp_path / STOP_NAME).touch()
        handle = executor.submit(job)
        assert not (tmp_path / STOP_NAME).exists()
        assert collect(executor, handle).kind is ExitKind.DONE

    def test_an_exit_is_given_once(self, executor: Executor, tmp_path: Path) -> None:
        handle = executor.submit(launch(tmp_path, "result"))
        collect(executor, handle)
        with pytest.raises(KeyError):
            executor.poll(handle)

    def test_asking_an_ended_trial_to_stop_changes_nothing(self, executor: Executor, tmp_path: Path) -> None:
        handle = executor.submit(launch(tmp_path, "result"))
        executor.wait(30.0)
        executor.stop(handle, urgent=True)
        assert collect(executor, handle).kind is ExitKind.DONE

    def test_handles_are_listed_in_order_until_they_are_collected(self, executor: Executor, tmp_path: Path) -> None:
        first = executor.submit(launch(tmp_path / "9", "result", iteration=9))
        second = executor.submit(launch(tmp_path / "3", "result", iteration=3))
        assert list(executor.list()) == [first, second]
        collect(executor, first)
        assert list(executor.list()) == [second]
        collect(executor, second)
        assert list(executor.list()) == []

    def test_capacity_counts_what_was_not_collected(self, executor: Executor, tmp_path: Path) -> None:
        assert executor.capacity() == 2
        handles = [executor.submit(launch(tmp_path / name, "result")) for name in "ab"]
        assert executor.capacity() == 0
        with pytest.raises(RuntimeError, match="slots"):
            executor.submit(launch(tmp_path / "c", "result"))
        for handle in handles:
            collect(executor, handle)
        assert executor.capacity() == 2

    def test_waiting_returns_at_once_when_an_exit_was_not_collected(self, executor: Executor, tmp_path: Path) -> None:
        handle = executor.submit(launch(tmp_path, "result"))
        executor.wait(30.0)
        started_s = time.monotonic()
        executor.wait(30.0)
        assert time.monotonic() - started_s < 5.0
        collect(executor, handle)

    def test_waiting_returns_when_another_descriptor_is_readable_and_does_not_read_it(self, executor: Executor) -> None:
        reading, writing = os.pipe()
        try:
            os.write(writing, b"x")
            started_s = time.monotonic()
            executor.wait(30.0, also=[reading])
            assert time.monotonic() - started_s < 5.0
            assert os.read(reading, 10) == b"x"
        finally:
            os.close(reading)
            os.close(writing)

    def test_waiting_for_nothing_ends_after_the_timeout(self, executor: Executor) -> None:
        started_s = time.monotonic()
        executor.wait(0.05)
        assert 0.045 <= time.monotonic() - started_s < 5.0
