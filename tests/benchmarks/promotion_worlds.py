"""Who proposes what, and how good it really is: four simulated worlds, many runs of each side by side.

Strengths are true chances to win a game. Every world starts at 47 %, the founding documents' baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from supervisor.search import schedule, spsa
from tests.benchmarks.paired_many import Flags, Floats

START = 0.47
CEILING = 0.65  # what warm-started training approaches
PARAMETERS, IMPORTANT = 25, 9
TOP = 0.60  # the best configuration of a landscape
STEP_15_PERCENT = np.log(1.15) / np.log(9)  # in a logarithmic range from a third to the threefold of the default


@dataclass(frozen=True)
class Proposal:
    """One candidate for each run; arrays [runs]."""

    strength: Floats
    purpose: str  # search | confirmation


class World(Protocol):
    """Runs side by side. `incumbent` are the true strengths of what each run holds best."""

    incumbent: Floats

    def __init__(self, runs: int, rng: np.random.Generator) -> None: ...

    def propose(self) -> Proposal: ...

    def tell(self, scores: Floats, promoted: Flags) -> None:
        """The screen's result of each run's candidate, and whether it became the incumbent."""


class Equal:
    """Every candidate is exactly as good as the incumbent: whatever is promoted is false."""

    def __init__(self, runs: int, rng: np.random.Generator) -> None:
        self.incumbent = np.full(runs, START)

    def propose(self) -> Proposal:
        return Proposal(self.incumbent, "search")

    def tell(self, scores: Floats, promoted: Flags) -> None:
        pass


class Warm:
    """Training goes on from the incumbent's weights: the raw rates rise with it, whatever the candidate's parameters.

    A candidate of the start is .4 points better on average, give or take 1.5; both shrink towards the ceiling.
    """

    def __init__(self, runs: int, rng: np.random.Generator) -> None:
        self.incumbent = np.full(runs, START)
        self._rng = rng
        self._candidate = self.incumbent

    def propose(self) -> Proposal:
        room = (CEILING - self.incumbent) / (CEILING - START)
        self._candidate = self.incumbent + room * self._rng.normal(0.004, 0.015, len(room))
        return Proposal(self._candidate, "search")

    def tell(self, scores: Floats, promoted: Flags) -> None:
        self.incumbent = np.where(promoted, self._candidate, self.incumbent)


class Landscape:
    """A bowl in the log-odds of winning over the unit cube: 9 of 25 parameters matter, some of them together.

    The default (the middle) wins 47 %, the best place 60 %. One of its own for each run.
    """

    def __init__(self, runs: int, rng: np.random.Generator) -> None:
        curvature = np.zeros((runs, PARAMETERS, PARAMETERS))
        self._best = rng.normal(0.5, 0.1, (runs, PARAMETERS))
        for run in range(runs):
            important = rng.choice(PARAMETERS, IMPORTANT, replace=False)
            side = rng.choice([-1.0, 1.0], IMPORTANT)
            self._best[run, important] = 0.5 + side * rng.uniform(0.12, 0.32, IMPORTANT)
            mixing = np.diag(rng.uniform(0.7, 1.3, IMPORTANT)) + rng.normal(0, 0.15, (IMPORTANT, IMPORTANT))
            curvature[run][np.ix_(important, important)] = mixing @ mixing.T
            curvature[run] += 0.02 * np.eye(PARAMETERS)
        depth = self._bowl(curvature, np.full((runs, PARAMETERS), 0.5))
        self._curvature = curvature * ((_log_odds(TOP) - _log_odds(START)) / depth)[:, None, None]

    def _bowl(self, curvature: Floats, place: Floats) -> Floats:
        away = place - self._best
        return np.einsum("ri,rij,rj->r", away, curvature, away)

    def strength(self, place: Floats) -> Floats:
        """Chance to win at places [runs, parameters] of the unit cube."""
        return 1 / (1 + np.exp(self._bowl(self._curvature, place) - _log_odds(TOP)))


def _log_odds(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))


class Perturb:
    """The founding document's proposals: 3 to 5 parameters of the incumbent changed by up to 15 %."""

    def __init__(self, runs: int, rng: np.random.Generator) -> None:
        self._landscape = Landscape(runs, rng)
        self._rng = rng
        self._best = np.full((runs, PARAMETERS), 0.5)
        self._candidate = self._best
        self.incumbent = self._landscape.strength(self._best)

    def propose(self) -> Proposal:
        runs = len(self._best)
        ranks = self._rng.random((runs, PARAMETERS)).argsort(axis=1)
        chosen = ranks < self._rng.integers(3, 6, runs)[:, None]
        steps = np.log(self._rng.uniform(0.85, 1.15, (runs, PARAMETERS))) / np.log(1.15) * STEP_15_PERCENT
        self._candidate = np.clip(self._best + steps * chosen, 0, 1)
        return Proposal(self._landscape.strength(self._candidate), "search")

    def tell(self, scores: Floats, promoted: Flags) -> None:
        self._best = np.where(promoted[:, None], self._candidate, self._best)
        self.incumbent = self._landscape.strength(self._best)


class Spsa:
    """The default sampler's pairs around theta, and confirmations, whose winner is taken to be theta itself."""

    def __init__(self, runs: int, rng: np.random.Generator) -> None:
        self._landscape = Landscape(runs, rng)
        self._rng = rng
        self._theta = np.full((runs, PARAMETERS), 0.5)
        self._best = self._theta
        self._candidate = self._theta
        self._flips = self._theta
        self._first = np.zeros(runs)
        self._trials = 0
        self._confirmations = 0
        self._confirming = False
        self.incumbent = self._landscape.strength(self._best)

    def propose(self) -> Proposal:
        self._confirming = self._confirmations < schedule.confirmations(self._trials)
        if self._confirming:
            self._candidate = self._theta
            return Proposal(self._landscape.strength(self._candidate), "confirmation")
        first = self._trials % 2 == 0
        if first:
            self._flips = self._rng.choice([-1.0, 1.0], self._theta.shape)
        width, _ = spsa.gains(self._trials // 2 + 1)
        self._candidate = np.clip(self._theta + (width if first else -width) * self._flips, 0, 1)
        return Proposal(self._landscape.strength(self._candidate), "search")

    def tell(self, scores: Floats, promoted: Flags) -> None:
        self._best = np.where(promoted[:, None], self._candidate, self._best)
        self.incumbent = self._landscape.strength(self._best)
        if self._confirming:
            self._confirmations += 1
            return
        if self._trials % 2 == 0:
            self._first = scores
        else:
            width, gain = spsa.gains(self._trials // 2 + 1)
            slope = (self._first - scores) / (2 * width)
            self._theta = np.clip(self._theta + gain * slope[:, None] * self._flips, 0, 1)
        self._trials += 1


WORLDS: dict[str, type[World]] = {"equal": Equal, "perturb": Perturb, "spsa": Spsa, "warm": Warm}
