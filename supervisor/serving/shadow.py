"""A version that is shown a share of the requests and answers none: would it act alike, and how fast?

Requests are taken at even distances, not by chance. Both versions run them in one thread beside the event loop, by
turns, so that their times can be compared; where that thread cannot keep up, requests are left out and counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from supervisor.contract import Json
from supervisor.serving import payload
from supervisor.serving.served import Served
from supervisor.serving.session import Arrays

MOST_WAITING = 16
TIMES_KEPT = 1000


@dataclass
class Compared:
    """What was seen so far. Written by the shadow's thread alone."""

    requests: int = 0
    rows: int = 0
    acted: int = 0  # rows that come with a choice
    alike: int = 0  # of them, those with the same choice
    differences: float = 0.0  # sum over requests of the mean absolute difference of the outputs
    largest: float = 0.0
    failed: int = 0
    last_failure: str | None = None
    candidate_s: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    live_s: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))


class Shadow:
    """Of one target. `offer` belongs to the event loop."""

    def __init__(self, candidate: Served, share: float, since: str, executor: Executor) -> None:
        self.candidate, self.share, self.since = candidate, share, since
        self.seen = Compared()
        self.left_out = 0
        self._executor = executor
        self._owed = 0.0  # of a request
        self._waiting = 0

    def offer(self, live: Served, inputs: Arrays) -> None:
        """A request that `live` has answered."""
        self._owed += self.share
        if self._owed < 1.0:
            return
        self._owed -= 1.0
        if self._waiting >= MOST_WAITING:
            self.left_out += 1
            return
        self._waiting += 1
        self._executor.submit(self._work, live, inputs)

    def _work(self, live: Served, inputs: Arrays) -> None:
        candidate = self.candidate.session
        try:
            compare(self.seen, lambda: live.session.run(inputs), lambda: candidate.run(candidate.fitted(inputs)))
        finally:
            self._waiting -= 1  # at worst one too many waits for a moment


def compare(seen: Compared, live: Callable[[], Arrays], candidate: Callable[[], Arrays]) -> None:
    """One request more, run by both."""
    began_s = time.perf_counter()
    expected = live()
    turned_s = time.perf_counter()
    try:
        found = candidate()
        took_s = time.perf_counter() - turned_s
        gaps = [np.abs(np.asarray(found[name], np.float64) - expected[name]) for name in expected]
        if not all(np.isfinite(gap).all() for gap in gaps):
            raise ValueError("an output is not finite")  # noqa: TRY301 - counted as any other failure of it
    except Exception as error:  # the runtime's errors have no common class
        seen.failed += 1
        seen.last_failure = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return
    seen.requests += 1
    seen.rows += len(next(iter(expected.values())))
    seen.differences += float(np.mean([gap.mean() for gap in gaps]))
    seen.largest = max(seen.largest, *(float(gap.max()) for gap in gaps))
    seen.live_s.append(turned_s - began_s)
    seen.candidate_s.append(took_s)
    ours, theirs = payload.actions(expected), payload.actions(found)
    if isinstance(ours, list) and isinstance(theirs, list) and all(isinstance(action, int) for action in ours):
        seen.acted += len(ours)
        seen.alike += sum(a == b for a, b in zip(ours, theirs, strict=True))


def listed(shadow: Shadow) -> dict[str, Json]:
    """For `/models`. `agreement` is the share of equal choices, None where the model does not choose."""
    seen = shadow.seen
    return {
        "version": shadow.candidate.version.name,
        "share": shadow.share,
        "since": shadow.since,
        "requests": seen.requests,
        "rows": seen.rows,
        "left_out": shadow.left_out,
        "agreement": seen.alike / seen.acted if seen.acted else None,
        "mean_difference": seen.differences / seen.requests if seen.requests else None,
        "largest_difference": seen.largest if seen.requests else None,
        "failed": seen.failed,
        "last_failure": seen.last_failure,
        "p50_ms": _percentiles(seen.candidate_s, 50),
        "p95_ms": _percentiles(seen.candidate_s, 95),
        "live_p50_ms": _percentiles(seen.live_s, 50),
        "live_p95_ms": _percentiles(seen.live_s, 95),
    }


def _percentiles(times_s: deque[float], rank: float) -> float | None:
    return round(float(np.percentile(list(times_s), rank)) * 1e3, 4) if times_s else None
