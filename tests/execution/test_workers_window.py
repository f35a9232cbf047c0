"""The window rule: how far proposals run ahead of the log, in whatever order trials end; and its simulator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.journal.log import read_log
from tests.benchmarks.window import Work, bound, makespan_s
from tests.support.inline_executor import InlineExecutor
from tests.support.small_run import SmallRun, comparable
from trainers import worker

seconds = st.floats(0.01, 10)
works = st.lists(st.builds(Work, seconds, st.just(0.0) | seconds), min_size=1, max_size=40)


# the loop


class OldestLast(InlineExecutor):
    """The trial that was begun last ends first, so that the line that is next is as late as can be."""

    def __init__(self, slots, run_dir):
        super().__init__(worker.main, slots)
        self._trials = run_dir / "trials"
        self.ahead = 0  # most trials begun and not committed

    def wait(self, timeout_s, also=()):
        self._waiting = dict(reversed(self._waiting.items()))
        super().wait(timeout_s, also)
        self._waiting = dict(reversed(self._waiting.items()))
        committed = len(read_log(self._trials.parent).records) if self._trials.exists() else 0
        begun = max((int(path.name) for path in self._trials.iterdir()), default=0)
        self.ahead = max(self.ahead, begun - committed)


@pytest.mark.parametrize(("slots", "window"), [(2, 2), (2, 8), (3, 8), (8, 8)])
def test_proposals_run_as_far_ahead_as_the_window_and_no_further(tmp_path, slots, window):
    run, in_order = SmallRun(tmp_path / "run", window=window), SmallRun(tmp_path / "in_order", window=window)
    executor = OldestLast(slots, run.run_dir)
    run.run(30, slots=slots, executor=executor)
    in_order.run(30, slots=1)
    assert executor.ahead == window
    assert comparable(read_log(run.run_dir).records) == comparable(read_log(in_order.run_dir).records)


# the simulator


def test_an_example_worked_by_hand():
    """Two workers, window 2. 1 runs 0-4; 2 runs 0-1 and waits; 3 needs line 1: 4-5, as 4 does."""
    slow_first = [Work(4.0), Work(1.0), Work(1.0), Work(1.0)]
    assert makespan_s(slow_first, workers=2, window=2) == 5.0
    assert makespan_s(slow_first, workers=2, window=3) == 5.0  # 3 runs 1-2, 4 needs line 1 and runs 4-5
    assert makespan_s(slow_first, workers=2, window=4) == 4.0
    assert bound(slow_first, workers=2, window=4) == 7 / 8


def test_a_contest_waits_for_the_line_before_it_and_then_goes_first():
    """1 runs 0-3. 2 runs 0-1, its contest needs line 1: 3-5. 3 runs 1-2 and 4 runs 2-4; both wait for line 2."""
    contested = [Work(3.0), Work(1.0, duel_s=2.0), Work(1.0), Work(2.0)]
    assert makespan_s(contested, workers=2, window=4) == 5.0


@given(works, st.integers(1, 4), st.integers(1, 4))
def test_it_is_never_faster_than_the_work_and_never_slower_than_one_after_the_other(works, workers, per_worker):
    taken_s = makespan_s(works, workers, per_worker * workers)
    total_s = sum(work.total_s for work in works)
    assert max(total_s / workers, *(work.total_s for work in works), 0.0) <= taken_s + 1e-6
    assert taken_s <= total_s + 1e-6


@given(works)
def test_one_worker_is_always_busy(works):
    assert bound(works, 1, 1) == pytest.approx(1.0)


@given(seconds, st.integers(1, 5), st.integers(1, 6))
def test_trials_of_one_length_keep_everybody_busy(length_s, workers, rounds):
    assert bound([Work(length_s)] * (workers * rounds), workers, workers) == pytest.approx(1.0)
