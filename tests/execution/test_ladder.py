from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from supervisor.execution.ladder import Act, Cause, Patience, Rungs, Sighting, climb

PATIENCE = Patience(ask_s=15, terminate_s=5, urgent_s=2, hung_s=120)


def sighting(now_s: float, **changes: object) -> Sighting:
    usual: dict[str, object] = {
        "now_s": now_s,
        "started_s": 0.0,
        "beat_s": now_s,
        "wall_s": 1000.0,
        "ram_mb": 1,
        "ram_limit_mb": 100,
    }
    return Sighting(**(usual | changes))  # type: ignore[arg-type]


def acts(sightings: list[Sighting]) -> tuple[Rungs, list[tuple[float, Act]]]:
    rungs, taken = Rungs(), []
    for seen in sightings:
        rungs, act = climb(rungs, seen, PATIENCE)
        if act is not Act.NOTHING:
            taken.append((seen.now_s, act))
    return rungs, taken


def test_a_healthy_trial_is_left_alone() -> None:
    assert acts([sighting(float(now)) for now in range(900)]) == (Rungs(), [])


def test_a_trial_asked_to_stop_is_told_and_then_killed() -> None:
    rungs, taken = acts([sighting(float(now), stop=True) for now in range(60)])
    assert taken == [(0.0, Act.ASK), (15.0, Act.TERMINATE), (20.0, Act.KILL)]
    assert rungs.cause is Cause.STOP


def test_an_urgent_stop_begins_with_sigterm_and_waits_less() -> None:
    _, taken = acts([sighting(float(now), urgent=True) for now in range(60)])
    assert taken == [(0.0, Act.TERMINATE), (2.0, Act.KILL)]


def test_a_stop_may_become_urgent_on_the_way() -> None:
    _, taken = acts([sighting(float(now), stop=True, urgent=now >= 3) for now in range(60)])
    assert taken == [(0.0, Act.ASK), (3.0, Act.TERMINATE), (5.0, Act.KILL)]


def test_a_trial_beyond_its_wall_time_gets_the_whole_ladder() -> None:
    rungs, taken = acts([sighting(float(now), wall_s=10.0) for now in range(60)])
    assert taken == [(11.0, Act.ASK), (26.0, Act.TERMINATE), (31.0, Act.KILL)]
    assert rungs.cause is Cause.WALL_TIME


def test_a_silent_trial_is_not_asked() -> None:
    rungs, taken = acts([sighting(float(now), beat_s=7.0) for now in range(200)])
    assert taken == [(128.0, Act.TERMINATE), (133.0, Act.KILL)]
    assert rungs.cause is Cause.HUNG


def test_memory_beyond_the_limit_kills_at_once_whatever_went_before() -> None:
    rungs, taken = acts([sighting(float(now), stop=True, ram_mb=101 if now > 2 else 1) for now in range(9)])
    assert taken == [(0.0, Act.ASK), (3.0, Act.KILL)]
    assert rungs.cause is Cause.OUT_OF_MEMORY
    assert rungs.reason == "it used 101 MB of memory where 100 MB are allowed"


def test_the_first_cause_is_kept() -> None:
    rungs, _ = acts([sighting(float(now), wall_s=10.0, stop=now >= 12) for now in range(60)])
    assert rungs.cause is Cause.WALL_TIME


ORDER = [Act.ASK, Act.TERMINATE, Act.KILL]


@given(
    gaps=st.lists(st.floats(0, 40), min_size=1, max_size=60),
    stop_at=st.integers(0, 60),
    urgent_at=st.integers(0, 60),
    silent_from=st.integers(0, 60),
    greedy_at=st.integers(0, 200),
    wall_s=st.floats(0.1, 500),
)
def test_the_ladder_is_climbed_once_and_in_order_and_never_without_a_reason(
    gaps: list[float], stop_at: int, urgent_at: int, silent_from: int, greedy_at: int, wall_s: float
) -> None:
    times = list(itertools.accumulate(gaps))
    seen = [
        sighting(
            now_s,
            stop=index >= stop_at,
            urgent=index >= urgent_at,
            beat_s=times[min(index, silent_from)],
            ram_mb=101 if index >= greedy_at else 1,
            wall_s=wall_s,
        )
        for index, now_s in enumerate(times)
    ]
    rungs, taken = acts(seen)
    ranks = [ORDER.index(act) for _, act in taken]
    assert ranks == sorted(set(ranks))
    assert bool(taken) == bool(rungs.reason) == (rungs.cause is not None)
    if rungs.cause is None:
        assert all(s.now_s <= wall_s and s.now_s - s.beat_s <= 120 and not s.stop and not s.urgent for s in seen)


@given(wall_s=st.floats(0.1, 100), step_s=st.floats(0.1, 4))
def test_whatever_the_cause_a_trial_is_killed_within_the_sum_of_the_patience(wall_s: float, step_s: float) -> None:
    seen = [sighting(index * step_s, wall_s=wall_s) for index in range(int(200 / step_s))]
    _, taken = acts(seen)
    assert taken[-1][1] is Act.KILL
    assert taken[-1][0] <= wall_s + PATIENCE.ask_s + PATIENCE.terminate_s + 3 * step_s
