"""Second stage of a trial: its candidate against the incumbent of the moment, pair by pair, until the test decides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.contract import Decision, DuelResult, DuelSpec, Outcome, Reason, Status, Tally, TrialResult, TrialSpec
from supervisor.promotion import paired
from trainers.ledger import Ledger, spans, tally
from trainers.target import Built, Player, TrialTarget

PAIRS_PER_DROPPED = 50  # more than one pair in so many lost to the environment makes the whole contest invalid


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
        fresh = _pairs(ledger, sides, "duel", seed, span, _allowed(span) - dropped)
        dropped += len(span) - len(fresh)
        if dropped > _allowed(span):  # before any verdict that the span may hold
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
    """The measuring pairs; where too many cannot be played, those until then. The verdict does not hang on them."""
    measured: list[tuple[float, float]] = []
    for span in spans(duel.measure_pairs, sides.block_games):
        bearable = _allowed(span) - (span.start - len(measured))
        measured += _pairs(ledger, sides, "measure", seed, span, bearable)
        if span.stop - len(measured) > _allowed(span):
            break
    return measured


def _allowed(span: range) -> int:
    """Pairs that may be dropped of those tried until the end of the span: 2 %, but a single one is never too many."""
    return max(1, span.stop // PAIRS_PER_DROPPED)


def _pairs(
    ledger: Ledger, sides: Sides, phase: str, seed: int, span: range, bearable: int
) -> list[tuple[float, float]]:
    """The block's pairs in order of seed, without those that were dropped: a game was lost to the environment, or
    neither side could play it. `bearable` is how many may be dropped; a block with more is not played to its end."""
    ours = ledger.play(phase, "candidate", sides.candidate, seed, span, bearable)
    theirs = ledger.play(phase, "incumbent", sides.incumbent, seed, span, bearable)
    neither = {failure.game for failure in ours.failures} & {failure.game for failure in theirs.failures}
    return [
        (a, b)
        for game, (a, b) in enumerate(zip(ours.scores, theirs.scores, strict=True))
        if a is not None and b is not None and game not in neither
    ]
