"""How strong the samplers are: the real policy on synthetic targets, `python -m tests.benchmarks.search`.

Every iteration is what it is in a run: proposal, screen against the incumbent on common seeds, contender rule, paired
test, fold. The targets have no weights (as external ones), so spsa's contenders are the winners of confirmations.
Printed are true win rates in percent, which no sampler sees: of the incumbent, and under spsa of theta.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from supervisor.config.settings import RunSettings, SearchSettings, Settings
from supervisor.contract import Decision, Outcome, Params, Reason, TestPlan
from supervisor.promotion import contenders, paired
from supervisor.search import fold, spsa
from supervisor.search.fold import SearchState
from supervisor.search.observation import Observation
from supervisor.search.policy import Proposal, ProposalRequest, Proposer
from supervisor.seeds import derive_seed
from tests.benchmarks.search_worlds import FAMILIES, World, play, space, world
from tests.support.lines import line_of, version
from trainers.build_stage import CONFIRMATION_ROUNDS

TARGET = "synthetic/target"
CANDIDATES = 10**6  # players from here on are candidates, below it incumbents
PLAN = TestPlan()


@dataclass(frozen=True)
class Size:
    marks: tuple[int, ...]  # iterations after which strength is read
    seeds: int


DEFAULT = Size(marks=(100, 300), seeds=4)
FULL = Size(marks=(100, 300, 1000), seeds=8)


@dataclass
class Run:
    """One target searched by one sampler, on simulated games."""

    sampler: str
    world: World
    seed: int
    games: int = 0
    promotions: int = 0
    incumbent: Params = field(default_factory=lambda: space().defaults())
    state: SearchState = field(default_factory=SearchState)
    seen: list[Observation] = field(default_factory=list)
    proposer: Proposer = field(default_factory=Proposer)

    def settings(self) -> Settings:
        run = RunSettings(seed=self.seed, start_from="scratch")
        # no stagnation: each sampler is measured alone
        return Settings(run=run, search=SearchSettings(sampler=self.sampler, stagnation_iterations=10**6))

    def iterate(self, iteration: int) -> None:
        held = version(0, self.incumbent)
        proposal = self.proposer.propose(
            ProposalRequest(
                target=TARGET,
                iteration=iteration,
                space=space(),
                state=self.state,
                settings=self.settings(),
                incumbent=held,
                history=self.seen,
            )
        )
        params = self._confirmed(proposal, iteration) if proposal.candidates else proposal.params
        screen = self._seed("screen", proposal.seed_iteration or iteration)
        ours = play(self.world.rate(params), screen, proposal.games, _player(iteration))
        theirs = play(self.world.rate(self.incumbent), screen, proposal.games, self.promotions)
        self.games += 2 * proposal.games
        delta = float((ours - theirs).mean())
        policy = contenders.policy_for(None, self.sampler, yields_model=False)
        contender, reason = contenders.is_contender(policy, proposal.purpose, delta, PLAN.min_improvement)
        decision = self._tested(params, iteration) if contender else Decision("none", Outcome.REJECT, reason)
        promoted = decision.outcome is Outcome.PROMOTE
        record = replace(
            line_of(iteration, replace(proposal, params=params), float(ours.mean())),
            target=TARGET,
            delta=delta,
            decision=decision,
            promoted=promoted,
        )
        self.promotions += promoted
        self.incumbent = params if promoted else self.incumbent
        self.state = fold.advance(self.state, record)
        self.seen.append(Observation.of(record))

    def centre(self) -> Params | None:
        """The configuration at theta."""
        theta = self.state.spsa.theta
        return None if theta is None else spsa.from_unit(space(), theta)

    def _confirmed(self, proposal: Proposal, iteration: int) -> Params:
        """Sequential halving on common fresh games, as the trial process does it."""
        first = self._seed("confirm", iteration)
        scores: list[list[float]] = [[] for _ in proposal.candidates]
        ranked, start = list(range(len(proposal.candidates))), 0
        for survivors, games in CONFIRMATION_ROUNDS:
            ranked = ranked[:survivors]
            for number in ranked:
                rate = self.world.rate(proposal.candidates[number])
                scores[number] += play(rate, first + start, games, _player(iteration, number)).tolist()
                self.games += games
            start += games
            ranked.sort(key=lambda number: -float(np.mean(scores[number])))
        return proposal.candidates[ranked[0]]

    def _tested(self, params: Params, iteration: int) -> Decision:
        """The paired test on fresh seeds."""
        duel = self._seed("duel", iteration)
        ours = play(self.world.rate(params), duel, PLAN.max_pairs, _player(iteration))
        theirs = play(self.world.rate(self.incumbent), duel, PLAN.max_pairs, self.promotions)
        pairs = list(zip(ours.tolist(), theirs.tolist(), strict=True))
        decision = paired.decide(PLAN, pairs)
        if decision is None:
            return Decision("paired_e", Outcome.INCONCLUSIVE, Reason.PAIRS_EXHAUSTED)
        self.games += 2 * decision.n_pairs
        return decision

    def _seed(self, phase: str, iteration: int) -> int:
        return derive_seed(self.seed, phase, TARGET, iteration)


def _player(iteration: int, number: int = 0) -> int:
    return CANDIDATES + 10 * iteration + number


@dataclass(frozen=True)
class Reading:
    """Where a run stood at a mark."""

    incumbent: float
    centre: float | None
    games: int
    promotions: int


def measure(sampler: str, family: str, seed: int, marks: Sequence[int]) -> list[Reading]:
    run = Run(sampler, world(family, seed), seed)
    readings = []
    for iteration in range(1, marks[-1] + 1):
        run.iterate(iteration)
        if iteration in marks:
            centre = run.centre()
            rate = None if centre is None else run.world.rate(centre)
            readings.append(Reading(run.world.rate(run.incumbent), rate, run.games, run.promotions))
    run.proposer.close()
    return readings


def table(sampler: str, family: str, size: Size) -> list[str]:
    """One row per mark: means over the seeds, with the standard error of the incumbent's."""
    runs = [measure(sampler, family, seed, size.marks) for seed in range(size.seeds)]
    rows = []
    for number, mark in enumerate(size.marks):
        readings = [run[number] for run in runs]
        rates = 100 * np.array([reading.incumbent for reading in readings])
        error = rates.std(ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else float("nan")
        centres = [100 * reading.centre for reading in readings if reading.centre is not None]
        centre = f"{np.mean(centres):6.1f}" if centres else "     -"
        games = np.mean([reading.games for reading in readings])
        promotions = np.mean([reading.promotions for reading in readings])
        strength = f"{rates.mean():9.1f} +-{error:4.1f} {centre}"
        rows.append(f"{family:9} {sampler:8} {mark:6} {strength} {games:9.0f} {promotions:6.1f}")
    return rows


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search", description=__doc__)
    parser.add_argument("--samplers", default="spsa,perturb,tpe", help="comma separated")
    parser.add_argument("--seeds", type=int, help="runs per row")
    parser.add_argument("--full", action="store_true", help="1000 iterations and twice the seeds")
    given = parser.parse_args(arguments)
    size = FULL if given.full else DEFAULT
    size = replace(size, seeds=given.seeds or size.seeds)
    started_s = time.monotonic()
    print("family    sampler   iter incumbent        theta     games promotions", flush=True)
    for family in FAMILIES:
        for sampler in given.samplers.split(","):
            for row in table(sampler, family, size):
                print(row, flush=True)
    print(f"default {100 * 0.47:.0f} %, a good configuration about 60 %; {time.monotonic() - started_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
