"""A new version in production beside the one before it: the games that clients report are paired and tested.

The i-th outcome of one side is paired with the i-th of the other, but of the side that is ahead only the last ones
wait: whoever has nine times the clients would otherwise be compared by what happened nine times as long ago, and a
better hour of the day would look like a better version. Which outcomes are left out does not depend on their scores.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from supervisor.contract import Decision, Outcome
from supervisor.promotion import paired
from supervisor.promotion.paired import TestState
from supervisor.serving.options import WatchOptions
from supervisor.serving.tally import Tally

MOST_WAITING = 100  # outcomes of the side that is ahead

Pair = tuple[float, float]
"""Score under the version before, score under the new one: roles swapped, the version before is the candidate."""


class Verdict(StrEnum):
    """How the watch over a version ended; `watching` while it has not."""

    WATCHING = "watching"
    STABLE = "stable"  # not found to be worse
    UNDECIDED = "undecided"  # the time is over, and hardly an outcome was reported
    DEGRADED = "degraded"  # proven to be worse than the tolerance
    FAULTY = "faulty"  # errors, NaN, latency
    SUPERSEDED = "superseded"  # another version went live, or none
    ROLLED_BACK = "rolled_back"  # by hand


@dataclass
class Window:
    """The evidence so far. A function of the outcomes in their order; time is told to it."""

    options: WatchOptions
    test: TestState = field(default_factory=paired.start)
    partial: list[Pair] = field(default_factory=list)  # of the next batch
    new: Tally = field(default_factory=Tally)
    old: Tally = field(default_factory=Tally)
    faults: list[str] = field(default_factory=list)  # what each was
    verdict: Verdict = Verdict.WATCHING
    decision: Decision | None = None  # of the test, where that is what ended it
    _is_over: bool = False  # the test, not the watch
    _ahead_new: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    _ahead_old: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))

    def __post_init__(self) -> None:
        self._plan = self.options.test()

    @property
    def n_pairs(self) -> int:
        return self.test.n + len(self.partial)

    @property
    def is_open(self) -> bool:
        return self.verdict is Verdict.WATCHING

    def failed(self, what: str) -> None:
        """The new version failed where the one before did not."""
        if self.is_open and len(self.faults) < self.options.max_faults:
            self.faults.append(what)

    def reported(self, is_new: bool, score: float) -> Pair | None:
        """An outcome of one of the two versions; the pair that it makes, if it does."""
        (self.new if is_new else self.old).add(score)
        own, other = (self._ahead_new, self._ahead_old) if is_new else (self._ahead_old, self._ahead_new)
        if not other:
            own.append(score)
            return None
        waited = other.popleft()
        pair = (waited, score) if is_new else (score, waited)
        self.paired(pair)
        return pair

    def paired(self, pair: Pair) -> None:
        """One more pair, as it was made or as it was written down."""
        if self._is_over:
            return
        self.partial.append(pair)
        if len(self.partial) == self._plan.batch_pairs:
            self.test = paired.observe(self._plan, self.test, self.partial)
            self.partial = []
            self._is_over = self._stopped() is not None

    def due(self, elapsed_s: float) -> Verdict | None:
        """What the watch comes to now, None while it goes on. A fault is looked for first, then a proof."""
        if not self.is_open:
            return None
        if len(self.faults) >= self.options.max_faults:
            return Verdict.FAULTY
        stopped = self._stopped() if self._is_over else None
        if stopped is not None:
            return Verdict.DEGRADED if stopped is Outcome.PROMOTE else Verdict.STABLE
        if elapsed_s >= self.options.window_s:
            return Verdict.STABLE if self.test.n >= self.options.min_pairs else Verdict.UNDECIDED
        return None

    def decided(self) -> Decision | None:
        """What the test says, None while it goes on. Takes a tenth of a second after 3,000 pairs."""
        return paired.verdict(self._plan, self.test)

    def _stopped(self) -> Outcome | None:
        if self.test.n < self.options.min_pairs:
            return None
        stopped = paired.stopped(self._plan, self.test)
        return None if stopped is None else stopped[0]

    @property
    def loss(self) -> float | None:
        """How much less a game brings under the new version, on average over the pairs."""
        return self.test.S / self.test.n if self.test.n else None

    @property
    def evidence(self) -> float:
        """Against the new version; 1/alpha of it is a proof."""
        return math.exp(min(paired.log_evidence(self.test), paired.LARGEST_LOG))


def restored(options: WatchOptions, pairs: Sequence[Pair], faults: Sequence[str]) -> Window:
    """The window that these pairs and faults, written down as they came, had led to. What each version scored outside
    of pairs is not known any more."""
    window = Window(options, faults=list(faults))
    for old, new in pairs:
        window.old.add(old)
        window.new.add(new)
        window.paired((old, new))
    return window
