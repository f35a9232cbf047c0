"""Second stage of a trial: its candidate against the incumbent of the moment, pair by pair, until the test decides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.contract import Decision, DuelResult, DuelSpec, Outcome, Reason, Status, Tally, TrialResult, TrialSpec
from supervisor.promotion import paired
from trainers.ledger import Block, Ledger, spans, tally
from trainers.target import Built, Player, TrialTarget

MAX_DROPPED = 0.02  # share of pairs lost to the environment above which the whole contest is invalid


@dataclass(frozen=True)
class Sides:
    """Both players and what they share."""

    candidate: Player
    incumbent: Player
    block_games: int


def duel_stage(
    spec: TrialSpec, result: TrialResult, duel: DuelSpec, built: Built, target: TrialTarget, ledger: Ledger
) -> DuelResult:
    """The verdict and, after one to promote, the measuring pairs."""
    sides = Sides(target.candidate(result.params, built), target.incumbent(duel.incumbent), target.block_games)
    decision, pairs, dropped = _contest(duel, sides, ledger, spec.seeds["duel"])
    if decision is None:
        return DuelResult(
            iteration=spec.iteration,
            status=Status.INVALID,
            reason=Reason.DROPPED_PAIRS,
            decision=None,
            games=2 * len(pairs),
            dropped_pairs=dropped,
        )
    measured = _measure(duel, sides, ledger, spec.seeds["measure"]) if decision.outcome is Outcome.PROMOTE else []
    ours, theirs = [pair[0] for pair in measured], [pair[1] for pair in measured]
    return DuelResult(
        iteration=spec.iteration,
        status=Status.COMPLETE,
        reason=None,
        decision=decision,
        games=2 * (len(pairs) + len(measured)),
        dropped_pairs=dropped,
        measured_candidate=tally(ours),
        measured_incumbent=tally(theirs) if theirs else Tally(),
        measured_gain=(sum(ours) - sum(theirs)) / len(measured) if measured else None,
    )


def _contest(
    duel: DuelSpec, sides: Sides, ledger: Ledger, seed: int
) -> tuple[Decision | None, list[tuple[float, float]], int]:
    """Play blocks, feed them in batches; pairs beyond the stopping point are not counted. No decision: invalid."""
    plan = duel.plan
    state = paired.start()
    used: list[tuple[float, float]] = []
    waiting: list[tuple[float, float]] = []
    dropped = 0
    for span in _endless_spans(sides.block_games, plan.batch_pairs):
        fresh = _pairs(ledger, sides, "duel", seed, span)
        dropped += len(span) - len(fresh)
        if dropped > max(MAX_DROPPED * plan.max_pairs, MAX_DROPPED * (len(used) + len(fresh)), sides.block_games):
            return None, used, dropped
        waiting += fresh
        while len(waiting) >= plan.batch_pairs:
            batch, waiting = waiting[: plan.batch_pairs], waiting[plan.batch_pairs :]
            state = paired.observe(plan, state, batch)
            used += batch
            decision = paired.verdict(plan, state, ledger.seconds("duel"))
            if decision is not None:
                return decision, used, dropped
    raise AssertionError("the test always ends")


def _endless_spans(block_games: int, batch: int) -> Iterator[range]:
    """Whole batches per block, so that a block never holds back a verdict."""
    size = max(batch, block_games - block_games % batch)
    return (range(first, first + size) for first in itertools.count(0, size))


def _measure(duel: DuelSpec, sides: Sides, ledger: Ledger, seed: int) -> list[tuple[float, float]]:
    measured: list[tuple[float, float]] = []
    for span in spans(duel.measure_pairs, sides.block_games):
        measured += _pairs(ledger, sides, "measure", seed, span)
    return measured


def _pairs(ledger: Ledger, sides: Sides, phase: str, seed: int, span: range) -> list[tuple[float, float]]:
    """The block's pairs in order of seed. A side that could not play after two more tries loses the whole block;
    where neither could, the environment is at fault and the pairs are dropped."""
    ours = ledger.play(phase, "candidate", sides.candidate, seed, span)
    theirs = ledger.play(phase, "incumbent", sides.incumbent, seed, span)
    if ours.error is not None and theirs.error is not None:
        return []
    return list(zip(_scores(ours), _scores(theirs), strict=True))


def _scores(block: Block) -> Sequence[float]:
    return block.scores if block.error is None else [0.0] * block.games
