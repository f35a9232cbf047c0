"""One version of a target, loaded: its session, what waits for it and what it has done."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor.contract import Version
from supervisor.serving.errors import ApiError
from supervisor.serving.oip import Reader
from supervisor.serving.session import Session
from supervisor.serving.tally import Tally

if TYPE_CHECKING:
    from supervisor.serving.arms import Split
    from supervisor.serving.batching import Waiting
    from supervisor.serving.shadow import Shadow
    from supervisor.serving.watch import Watching
    from supervisor.serving.watched import Watched
    from supervisor.serving.window_file import Baseline


LATENCY_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass
class Counts:
    """Since the version was loaded."""

    answered: int = 0  # requests
    failed: int = 0  # requests that were let in
    batches: int = 0
    rows: int = 0
    run_s: float = 0.0
    shared_run_s: float = 0.0  # the same, a batch's time counted for each request in it
    total_s: float = 0.0  # of the answered, from being read to being answered
    last_run: float | None = None  # seconds since the epoch
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    """Answered requests by how long they took: up to each bound, and beyond the last."""

    def done(self, took_s: float) -> None:
        """A request was answered so long after it was read."""
        self.answered += 1
        self.total_s += took_s
        self.latencies[bisect_left(LATENCY_BOUNDS_S, took_s)] += 1

    def ran(self, requests: int, rows: int, took_s: float) -> None:
        self.batches += 1
        self.shared_run_s += requests * took_s
        self.rows += rows
        self.run_s += took_s
        self.last_run = time.time()


@dataclass
class Served:
    """All but the counts and the queue stays as it is."""

    version: Version
    session: Session
    loaded_at: str
    oip: Reader
    counts: Counts = field(default_factory=Counts)
    outcomes: Tally = field(default_factory=Tally)  # of games, as clients reported them
    queue: list[Waiting] = field(default_factory=list)  # oldest first
    running: bool = False  # a thread runs a batch of it
    watched: Watched | None = None  # while it is new
    shadow: Shadow | None = None  # who is shown some of its requests


@dataclass
class Slot:
    """One target: what is live, the version before it kept warm, and why the last reload was refused."""

    target: str
    live: Served | None = None
    previous: Served | None = None
    refusal: ApiError | None = None
    refused_version: str | None = None
    swaps: int = 0
    rollbacks: int = 0
    split: Split | None = None  # who gets which of the two, while the newer one is watched
    watching: Watching | None = None  # the last watch, over or not
    baseline: Baseline | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one change at a time

    def serving(self, version: str | None = None) -> Served:
        """The live version, or the named one where it is still there. Raises ApiError (404, 503)."""
        live = self.live
        if live is None:
            reason = self.refusal.message if self.refusal else "it is not loaded"
            raise ApiError(503, "not_loaded", f"{self.target} has no model loaded: {reason}", {"Retry-After": "5"})
        if version is None:
            return live
        for served in (live, self.previous):
            if served is not None and is_named(served.version, version):
                return served
        raise ApiError(404, "unknown_version", f"{self.target} has no version {version[:100]!r} loaded")


def is_named(version: Version, text: str) -> bool:
    """A version is named in full, `v000042`, or by its number."""
    return text in (version.name, str(version.iteration))
