"""`python -m supervisor.promotion.replay FILE`: the paired test on games that were already played.

FILE is a trial's games.jsonl (its duel.json, if it lies beside, gives the test's constants), or one pair per line:
`[candidate score, incumbent score]`, a win being 1, a draw 0.5, a loss 0.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.contract import Decision, DuelSpec, TestPlan, parse
from supervisor.errors import IncumbentError, UsageError
from supervisor.journal import sealed
from supervisor.promotion import paired
from supervisor.promotion.interval import confidence_interval

Pair = tuple[float, float]
SHOWN_PROBLEMS = 20
PHASE = "duel"
SIDES = ("candidate", "incumbent")


@dataclass(frozen=True)
class Games:
    """What a file holds. `dropped` pairs were lost to the environment, or neither side could play them."""

    pairs: tuple[Pair, ...]
    dropped: int = 0
    torn: bool = False  # the last line was not finished


@dataclass(frozen=True)
class _Block:
    """A line of games.jsonl that belongs to the contest."""

    side: str
    start: int
    scores: tuple[float | None, ...]  # None where a game was lost to the environment
    failed: frozenset[int]  # games of the block that failed, for whatever reason


def read(path: Path) -> Games:
    """The pairs of a file in the order of their seeds. Raises UsageError that names every wrong line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give a games.jsonl or a file of pairs") from error
    torn = lines.pop() != b""
    problems: list[str] = []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_row(line))
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    blocks = [row for row in rows if isinstance(row, _Block)]
    pairs = [row for row in rows if isinstance(row, tuple)]
    if blocks and pairs:
        problems.append(f"{path}: holds lines of a games.jsonl and single pairs; keep to one of them")
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        raise UsageError("\n".join(problems[:SHOWN_PROBLEMS] + ([f"... and {more} more"] if more > 0 else [])))
    pairs, dropped = _matched(path, blocks) if blocks else (pairs, 0)
    if not pairs:
        raise UsageError(f"{path}: holds no pair of games; a trial plays them only if its screen earned the test")
    return Games(tuple(pairs), dropped, torn)


def _row(line: bytes) -> Pair | _Block | None:
    """One line; None for a line of another phase. The ValueError says what is wrong with it and what would be right."""
    try:
        value = json.loads(line)
    except ValueError:
        raise ValueError("is not JSON; a line is [candidate score, incumbent score] or one of games.jsonl") from None
    if isinstance(value, list) and len(value) == len(SIDES):
        return _score(value[0]), _score(value[1])
    if not isinstance(value, dict) or "phase" not in value:
        raise ValueError("is no pair; write [candidate score, incumbent score], for instance [1, 0.5]")
    sealed.decode_line(line)  # or it was changed since it was written
    if value["phase"] != PHASE:
        return None
    if value.get("side") not in SIDES or type(value.get("block")) is not int:
        raise ValueError('lacks a side, "candidate" or "incumbent", or the whole number "block"')
    listed, games = value.get("scores"), value.get("games")
    if not isinstance(listed, list):
        raise ValueError('has no list "scores"')  # noqa: TRY004 - a mistake in a file, not in the code
    if games is not None and games != len(listed):
        raise ValueError(f"says {games!r} games and holds {len(listed)} scores")
    scores = tuple(None if score is None else _score(score) for score in listed)
    return _Block(value["side"], value["block"], scores, _failed(value.get("failures", [])))


def _failed(failures: object) -> frozenset[int]:
    rows = failures if isinstance(failures, list) else [failures]
    games = [row.get("game") if isinstance(row, dict) else None for row in rows]
    numbers = frozenset(game for game in games if type(game) is int)
    if len(numbers) != len(rows):
        raise ValueError('has "failures" that are no list of objects, each with another whole number "game"')
    return numbers


def _score(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"holds the score {value!r}; a score is a number from 0 (loss) to 1 (win)")
    return float(value)


def _matched(path: Path, blocks: Iterable[_Block]) -> tuple[list[Pair], int]:
    """Both sides' blocks side by side, without the pairs that trainers/duel_stage.py drops."""
    sides: dict[str, dict[int, _Block]] = {side: {} for side in SIDES}
    for block in blocks:
        sides[block.side][block.start] = block
    pairs: list[Pair] = []
    dropped = 0
    for start in sorted(sides["candidate"].keys() & sides["incumbent"].keys()):
        ours, theirs = sides["candidate"][start], sides["incumbent"][start]
        games, others = len(ours.scores), len(theirs.scores)
        if games != others:
            raise UsageError(f"{path}: block {start} has {games} games of one side and {others} of the other")
        neither = ours.failed & theirs.failed
        counted = [
            (a, b)
            for game, (a, b) in enumerate(zip(ours.scores, theirs.scores, strict=True))
            if a is not None and b is not None and game not in neither
        ]
        pairs += counted
        dropped += games - len(counted)
    return pairs, dropped


def plan_beside(path: Path) -> TestPlan:
    """The constants in the duel.json of the same folder, else the defaults."""
    duel = path.parent / "duel.json"
    if not duel.exists():
        return TestPlan()
    try:
        return parse(DuelSpec, sealed.read(duel)).plan
    except ValueError as error:
        raise UsageError(f"{duel}: is damaged: {error}; move it away to replay with the default constants") from error


def report(plan: TestPlan, games: Games) -> str:
    """What the test says, for people."""
    decision = paired.decide(plan, games.pairs)
    used = decision.n_pairs if decision else len(games.pairs) // plan.batch_pairs * plan.batch_pairs
    state = paired.start()
    for first in range(0, used, plan.batch_pairs):
        state = paired.observe(plan, state, games.pairs[first : first + plan.batch_pairs])
    differences = [a - b for a, b in games.pairs[:used]]
    low, high = confidence_interval(state.batches)
    correlation = paired.correlation(state)
    lines = [
        _headline(plan, decision, used),
        f"  evidence     E = {math.exp(min(paired.log_evidence(state), paired.LARGEST_LOG)):.4g},"
        f" promotes at {plan.evidence_threshold:.4g}",
        f"  futility     {paired.futility(plan, state.n, state.S, state.Q):+.2f},"
        f" rejects at {math.log(plan.beta / (1 - plan.alpha)):+.2f}",
        f"  pairs        {sum(s > 0 for s in differences)} better, {sum(s == 0 for s in differences)} even,"
        f" {sum(s < 0 for s in differences)} worse",
        f"  gain         {state.S / max(1, state.n):+.4f} per pair,"
        f" with 95 % confidence between {low:+.4f} and {high:+.4f}",
        f"  correlation  {'unknown' if correlation is None else f'{correlation:.2f}'}",
    ]
    if len(games.pairs) > used:
        lines.append(f"  not counted  {len(games.pairs) - used} pairs after the last batch")
    if games.dropped:
        lines.append(f"  dropped      {games.dropped} pairs that could not be played")
    if games.torn:
        lines.append("  torn         the last line is not finished and was left out")
    return "\n".join(lines)


def _headline(plan: TestPlan, decision: Decision | None, used: int) -> str:
    if decision is None:
        return f"no verdict after {used} pairs; the test goes on to {plan.max_pairs}"
    return f"{decision.outcome.value} ({decision.reason.value}) after {used} pairs"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    arguments = _parser().parse_args(argv)
    path: Path = arguments.file
    try:
        games = read(path)
        plan = _override(plan_beside(path), arguments)
    except IncumbentError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(report(plan, games))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m supervisor.promotion.replay",
        description="The paired test on games that were already played.",
        epilog="Without options the constants are those of the duel.json beside the file, else the defaults.",
    )
    parser.add_argument("file", type=Path, help="a trial's games.jsonl, or a line [candidate, incumbent] per pair")
    parser.add_argument("--alpha", type=float, help="largest chance of promoting an equal candidate, between 0 and 1")
    parser.add_argument("--min-improvement", type=float, help="gain that must be exceeded, from 0 up to 1")
    parser.add_argument("--max-pairs", type=int, help="pairs after which a test without verdict ends")
    return parser


def _override(plan: TestPlan, arguments: argparse.Namespace) -> TestPlan:
    """The plan with what the command line says instead."""
    problems = []
    if arguments.alpha is not None:
        if not 0 < arguments.alpha < 1:
            problems.append(f"--alpha {arguments.alpha}: lies between 0 and 1; the default is 0.05")
        else:
            plan = replace(plan, alpha=arguments.alpha, evidence_threshold=1 / arguments.alpha)
    if arguments.min_improvement is not None:
        if not 0 <= arguments.min_improvement < 1:
            problems.append(f"--min-improvement {arguments.min_improvement}: lies from 0 up to 1; the default is 0.001")
        else:
            plan = replace(plan, min_improvement=arguments.min_improvement)
    if arguments.max_pairs is not None:
        if arguments.max_pairs < 1:
            problems.append(f"--max-pairs {arguments.max_pairs}: is at least 1; the default is 3000")
        else:
            plan = replace(plan, max_pairs=arguments.max_pairs)
    if problems:
        raise UsageError("\n".join(problems))
    return plan


if __name__ == "__main__":
    sys.exit(main())
