"""`games.jsonl`: what was played, a durable line per side and block; a block that is in it is never played again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydantic

from supervisor.contract import Tally, as_json, parse
from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers.target import Control, Metering, Player

LEDGER_NAME = "games.jsonl"
ATTEMPTS = 3  # a failing block is played again twice with its seeds


@dataclass(frozen=True)
class Block:
    """One line, with either scores or an error. `seconds` is measured and decides nothing but max_seconds."""

    phase: str  # screen | topup | confirm | duel | measure
    side: str  # candidate | incumbent | c0 ... c6
    block: int
    first_seed: int
    games: int
    scores: tuple[float, ...] = ()
    error: str | None = None
    detail: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)  # means per game


class Ledger:
    """Plays blocks that are not yet in the file, and remembers them all."""

    def __init__(self, folder: Path, control: Control) -> None:
        self._path = folder / LEDGER_NAME
        self._control = control
        self._blocks: dict[tuple[str, str, int], Block] = {}
        for block in _read(self._path):
            self._blocks[block.phase, block.side, block.block] = block

    @property
    def games(self) -> int:
        """Games in the file, of every phase and side."""
        return sum(len(block.scores) for block in self._blocks.values())

    def seconds(self, phase: str) -> float:
        """Time spent on a phase over all attempts, as the lines say."""
        return sum(block.seconds for block in self._blocks.values() if block.phase == phase)

    def metrics(self, phase: str, side: str) -> dict[str, float]:
        """Means per game over the side's blocks of a phase."""
        blocks = [block for block in self._blocks.values() if (block.phase, block.side) == (phase, side)]
        games = sum(block.games for block in blocks if block.error is None)
        names = sorted({name for block in blocks for name in block.metrics})
        return {name: sum(block.metrics.get(name, 0.0) * block.games for block in blocks) / games for name in names}

    def play(self, phase: str, side: str, player: Player, seed: int, span: range) -> Block:
        """The block of games `span.start` to `span.stop` of a phase (their numbers count from `seed`).

        A technical failure is tried again twice; the third makes the line an error, which the caller interprets.
        """
        key = (phase, side, span.start)
        known = self._blocks.get(key)
        if known is not None:
            return known
        self._control.check()
        block = self._attempt(phase, side, player, seed, span)
        durable.append(self._path, durable.canonical_json(as_json(block)) + b"\n")
        self._blocks[key] = block
        self._control.beat(len(self._blocks))
        return block

    def _attempt(self, phase: str, side: str, player: Player, seed: int, span: range) -> Block:
        started_s = time.monotonic()
        first_seed = seed + span.start
        failure = TrialError("crashed", "never played")
        for _ in range(ATTEMPTS):
            try:
                scores = tuple(float(score) for score in player.play(first_seed, len(span)))
                _check(scores, len(span))
            except TrialError as error:
                failure = error
                continue
            seconds = time.monotonic() - started_s
            metrics = dict(player.metrics) if isinstance(player, Metering) else {}
            return Block(phase, side, span.start, first_seed, len(span), scores, seconds=seconds, metrics=metrics)
        seconds = time.monotonic() - started_s
        return Block(phase, side, span.start, first_seed, len(span), (), failure.reason, failure.detail, seconds)


def _check(scores: Sequence[float], games: int) -> None:
    if len(scores) != games:
        raise TrialError("games_mismatch", f"{games} games were asked for, {len(scores)} scores came back")
    odd = [score for score in scores if not 0.0 <= score <= 1.0]  # NaN is in no range
    if odd:
        raise TrialError("nan", f"a score must lie in [0, 1]; {odd[0]!r} does not")


def _read(path: Path) -> list[Block]:
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        durable.truncate(path, whole)
    try:
        return [parse(Block, json.loads(line)) for line in data[:whole].splitlines()]
    except (ValueError, pydantic.ValidationError) as error:
        raise TrialError("crashed", f"{path.name} is damaged: {error}") from error


def tally(scores: Sequence[float]) -> Tally:
    """Counts of wins (1), losses (0) and everything between as draws."""
    wins = sum(score == 1.0 for score in scores)
    losses = sum(score == 0.0 for score in scores)
    return Tally(wins, len(scores) - wins - losses, losses)


def spans(games: int, block: int, start: int = 0) -> list[range]:
    """Games start to start + games in blocks of at most `block`."""
    return [range(first, min(first + block, start + games)) for first in range(start, start + games, block)]
