"""The window's evidence: how outcomes are paired, when it comes to something, and that it can be taken up again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import Outcome
from supervisor.promotion import paired
from supervisor.serving.options import WatchOptions
from supervisor.serving.window import MOST_WAITING, Pair, Verdict, Window, restored

OPTIONS = WatchOptions()
SCORES = st.sampled_from([0.0, 0.5, 1.0])


def games(seed: int, new: float, old: float, share_new: float = 0.9) -> Iterator[tuple[bool, float]]:
    """Outcomes without end, as clients report them: which side, and won or lost at that side's rate."""
    rng = random.Random(seed)
    while True:
        is_new = rng.random() < share_new
        yield is_new, float(rng.random() < (new if is_new else old))


def played(window: Window, new: float, old: float, seed: int = 0, share_new: float = 0.9, most: int = 200_000) -> int:
    """Report games until it comes to something; how many."""
    for count, (is_new, score) in enumerate(games(seed, new, old, share_new), start=1):
        window.reported(is_new, score)
        if window.due(0.0) is not None or count == most:
            return count
    raise AssertionError


@given(st.lists(st.tuples(st.booleans(), SCORES), max_size=300))
def test_the_pairs_are_of_games_near_each_other_and_each_counts_once(outcomes: list[tuple[bool, float]]) -> None:
    window, pairs = Window(OPTIONS), []
    waiting: dict[bool, list[float]] = {True: [], False: []}
    for is_new, score in outcomes:
        pair = window.reported(is_new, score)
        if waiting[not is_new]:
            other = waiting[not is_new].pop(0)
            assert pair == ((other, score) if is_new else (score, other))
            pairs.append(pair)
        else:
            assert pair is None
            waiting[is_new] = [*waiting[is_new], score][-MOST_WAITING:]
    assert (window.new.n, window.old.n) == (sum(new for new, _ in outcomes), sum(not new for new, _ in outcomes))


@given(st.lists(st.tuples(SCORES, SCORES), max_size=400), st.integers(0, 400))
def test_taken_up_again_it_is_as_if_it_had_never_been_put_down(pairs: list[Pair], cut: int) -> None:
    whole, again = restored(OPTIONS, pairs, []), restored(OPTIONS, pairs[:cut], [])
    for pair in pairs[cut:]:
        again.paired(pair)
    assert (again.test, again.partial, again.due(0.0)) == (whole.test, whole.partial, whole.due(0.0))


@given(st.lists(st.tuples(SCORES, SCORES), min_size=20, max_size=600))
def test_it_says_what_the_paired_test_says_with_the_sides_exchanged(pairs: list[Pair]) -> None:
    window = restored(OPTIONS, pairs, [])
    state, stop = paired.start(), None
    for first in range(0, len(pairs) - 9, 10):
        state = paired.observe(OPTIONS.test(), state, pairs[first : first + 10])
        stop = paired.stopped(OPTIONS.test(), state) if state.n >= OPTIONS.min_pairs else None
        if stop is not None:
            break
    expected = {None: None, Outcome.PROMOTE: Verdict.DEGRADED}.get(stop[0] if stop else None, Verdict.STABLE)
    assert window.due(0.0) is expected
    assert window.test == state


def test_a_much_worse_version_is_found_out_and_an_equal_one_is_stable() -> None:
    worse, equal = Window(OPTIONS), Window(OPTIONS)
    played(worse, new=0.4, old=0.6)
    played(equal, new=0.5, old=0.5)
    assert worse.due(0.0) is Verdict.DEGRADED
    assert equal.due(0.0) is Verdict.STABLE
    assert worse.loss is not None
    assert worse.loss > OPTIONS.tolerance
    assert worse.evidence >= 1 / OPTIONS.alpha


def test_a_better_hour_of_the_day_is_not_taken_for_a_better_version() -> None:
    """Everybody wins half their games, then nearly all: the side with nine times the games is not ahead in time."""
    window = Window(WatchOptions(max_pairs=100_000, beta=1e-9))
    rng = random.Random(1)
    for game in range(40_000):
        rate = 0.1 + 0.8 * game / 40_000
        window.reported(rng.random() < 0.9, float(rng.random() < rate))
    assert window.loss == pytest.approx(0.0, abs=0.03)


def test_before_the_least_number_of_pairs_nothing_is_concluded() -> None:
    window = Window(WatchOptions(min_pairs=100))
    for _ in range(90):
        window.reported(True, 0.0)
        window.reported(False, 1.0)
    assert window.evidence > 20
    assert window.due(0.0) is None
    for _ in range(10):
        window.reported(True, 0.0)
        window.reported(False, 1.0)
    assert window.due(0.0) is Verdict.DEGRADED


def test_faults_count_at_once_and_before_all_else() -> None:
    window = Window(WatchOptions(max_faults=2))
    window.faults.append("NaN")
    assert window.due(1e9) is not Verdict.FAULTY
    window.faults.append("NaN")
    assert window.due(0.0) is Verdict.FAULTY


def test_when_the_time_is_over_it_depends_on_whether_anything_was_reported() -> None:
    silent, spoken = Window(OPTIONS), restored(OPTIONS, [(1.0, 1.0), (0.0, 0.0)] * 15, [])
    assert (silent.due(1799.0), spoken.due(1799.0)) == (None, None)
    assert (silent.due(1800.0), spoken.due(1800.0)) == (Verdict.UNDECIDED, Verdict.STABLE)


def test_after_the_last_pair_it_is_stable_and_later_ones_change_nothing() -> None:
    window = Window(WatchOptions(max_pairs=50, beta=1e-9))
    for _ in range(80):
        window.reported(True, 1.0)
        window.reported(False, 1.0)
    assert window.due(0.0) is Verdict.STABLE
    assert window.n_pairs == 50
