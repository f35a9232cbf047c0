"""What happens to a candidate: our pipeline with the real rules, and those of the founding documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from supervisor.config.settings import PromotionSettings, RunSettings
from supervisor.contract import TestPlan
from supervisor.promotion import contenders, elond
from tests.benchmarks.paired_many import PROMOTE, Flags, Floats, Ints, Verdicts, decide_many
from tests.benchmarks.promotion_worlds import Proposal

VALUES = np.array([1.0, 0.0, -1.0])  # the candidate alone won, both or neither, the incumbent alone
SCREEN_GAMES = 100
FOUNDING_GAMES, FOUNDING_BASELINE, FOUNDING_MARGIN = 30, 50, 0.001  # seeds/004
PIPELINE_GAMES, PIPELINE_MARGIN = 100, 0.01  # seeds/000 names the margin, not the number of games


def chances(candidate: Floats, incumbent: Floats, correlation: float) -> Floats:
    """[contests, 3]: how often VALUES come where both sides' results on a game are so correlated."""
    spread = np.sqrt(candidate * (1 - candidate) * incumbent * (1 - incumbent))
    both = candidate * incumbent + correlation * spread
    both = np.clip(both, np.maximum(0, candidate + incumbent - 1), np.minimum(candidate, incumbent))
    up, down = candidate - both, incumbent - both
    return np.stack([up, 1 - up - down, down], axis=1)


def contests(plan: TestPlan, thresholds: Floats, odds: Floats, rng: np.random.Generator) -> Verdicts:
    """The paired test of many candidates at once."""

    def play(alive: Ints, batches: int) -> Ints:
        return rng.multinomial(plan.batch_pairs, odds[alive, None, :], size=(len(alive), batches))

    return decide_many(plan, thresholds, VALUES, play)


@dataclass(frozen=True)
class Turn:
    """One iteration of every run; arrays [runs]."""

    promoted: Flags
    tested: Flags
    told: Floats  # what the search learns of the candidate
    games: Ints


class Pipeline(Protocol):
    """`published` is each run's best_win_rate."""

    published: Floats

    def __init__(self, incumbent: Floats, correlation: float, rng: np.random.Generator) -> None:
        """Measure the baseline."""

    def iterate(self, proposal: Proposal, incumbent: Floats) -> Turn: ...


def tops_up(number: int, settings: PromotionSettings) -> bool:
    """Whether a target's iteration, its baseline being number 1, plays fresh games of the incumbent."""
    return number % settings.topup_every == 0


@dataclass(frozen=True)
class Pool:
    """The fresh games that best_win_rate is made of, as supervisor.deciding pools them; arrays [runs]."""

    wins: Ints
    games: Ints

    def topped_up(self, wins: Ints, games: int) -> Pool:
        return Pool(self.wins + wins, self.games + games)

    def measured(self, promoted: Flags, wins: Ints, games: int) -> Pool:
        """A winner's rate rests on its measuring games alone."""
        return Pool(np.where(promoted, wins, self.wins), np.where(promoted, games, self.games))


class Ours:
    """Screen, paired test, measuring games, top-up."""

    settings = PromotionSettings(error="per_try")

    def __init__(self, incumbent: Floats, correlation: float, rng: np.random.Generator) -> None:
        runs = len(incumbent)
        self._correlation, self._rng = correlation, rng
        games = RunSettings().baseline_games
        self._pool = Pool(rng.binomial(games, incumbent), np.full(runs, games))
        self._iterations = 1
        self._tests, self._promotions = np.zeros(runs, int), np.zeros(runs, int)

    @property
    def published(self) -> Floats:
        return self._pool.wins / self._pool.games

    def iterate(self, proposal: Proposal, incumbent: Floats) -> Turn:
        odds = chances(proposal.strength, incumbent, self._correlation)
        screen = self._rng.multinomial(SCREEN_GAMES, odds)
        delta = (screen[:, 0] - screen[:, 2]) / SCREEN_GAMES
        games = np.full(len(incumbent), 2 * SCREEN_GAMES) + self._top_up(incumbent)
        tested = np.array([self._is_contender(proposal.purpose, float(d)) for d in delta])
        promoted = np.zeros(len(incumbent), bool)
        rows = np.flatnonzero(tested)
        if len(rows):
            verdicts = self._test(rows, odds[rows])
            promoted[rows] = verdicts.outcome == PROMOTE
            games[rows] += 2 * verdicts.n
        games += self._measure(promoted, proposal.strength)
        return Turn(promoted, tested, delta, games)

    def _is_contender(self, purpose: str, delta: float) -> bool:
        policy = contenders.policy_for(self.settings.contenders, "spsa", yields_model=True)
        return contenders.is_contender(policy, purpose, delta, self.settings.min_improvement)[0]

    def _test(self, rows: Ints, odds: Floats) -> Verdicts:
        plans = [elond.plan_for(self.settings, int(self._tests[row]), int(self._promotions[row])) for row in rows]
        verdicts = contests(plans[0], np.array([plan.evidence_threshold for plan in plans]), odds, self._rng)
        self._tests[rows] += 1
        self._promotions[rows] += verdicts.outcome == PROMOTE
        return verdicts

    def _top_up(self, incumbent: Floats) -> int:
        self._iterations += 1
        if not tops_up(self._iterations, self.settings):
            return 0
        games = self.settings.topup_games
        self._pool = self._pool.topped_up(self._rng.binomial(games, incumbent), games)
        return games

    def _measure(self, promoted: Flags, strength: Floats) -> Ints:
        pairs = self.settings.measure_pairs
        self._pool = self._pool.measured(promoted, self._rng.binomial(pairs, strength), pairs)
        return np.where(promoted, 2 * pairs, 0)


class OursFdr(Ours):
    settings = PromotionSettings(error="fdr")


class Founding:
    """seeds/004: 30 games, promoted when their rate is .1 % above the best one so far, which it then becomes."""

    def __init__(self, incumbent: Floats, correlation: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self.published = rng.binomial(FOUNDING_BASELINE, incumbent) / FOUNDING_BASELINE

    def iterate(self, proposal: Proposal, incumbent: Floats) -> Turn:
        rate = self._rng.binomial(FOUNDING_GAMES, proposal.strength) / FOUNDING_GAMES
        promoted = rate > self.published + FOUNDING_MARGIN
        self.published = np.where(promoted, rate, self.published)
        return Turn(promoted, np.ones(len(rate), bool), rate, np.full(len(rate), FOUNDING_GAMES))


class FoundingPipeline:
    """seeds/000: candidate and production play; 1 % better is promoted, and what was measured there is published."""

    def __init__(self, incumbent: Floats, correlation: float, rng: np.random.Generator) -> None:
        self._rng, self._correlation = rng, correlation
        self.published = rng.binomial(FOUNDING_BASELINE, incumbent) / FOUNDING_BASELINE

    def iterate(self, proposal: Proposal, incumbent: Floats) -> Turn:
        odds = chances(proposal.strength, incumbent, self._correlation)
        games = self._rng.multinomial(PIPELINE_GAMES, odds)
        lead = games[:, 0] - games[:, 2]
        both = odds[:, 1] - (1 - proposal.strength - odds[:, 2])  # of the even pairs, those that both sides won
        even_wins = self._rng.binomial(games[:, 1], np.clip(both / np.maximum(odds[:, 1], 1e-12), 0, 1))
        rate = (games[:, 0] + even_wins) / PIPELINE_GAMES
        promoted = lead >= PIPELINE_MARGIN * PIPELINE_GAMES
        self.published = np.where(promoted, rate, self.published)
        told = lead / PIPELINE_GAMES
        return Turn(promoted, np.ones(len(rate), bool), told, np.full(len(rate), 2 * PIPELINE_GAMES))


PIPELINES: dict[str, type[Pipeline]] = {
    "per_try": Ours,
    "fdr": OursFdr,
    "seeds/004": Founding,
    "seeds/000": FoundingPipeline,
}
