"""`games.jsonl`: what was played, a durable line per side and block; a block that is in it is never played again."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from supervisor.contract import Reason, Tally, as_json, parse
from supervisor.errors import TrialError
from supervisor.journal import sealed
from trainers.target import Control, Metering, Player

LEDGER_NAME = "games.jsonl"
ATTEMPTS = 3  # a failing block is played again twice with its seeds, and so is a failing game
DETAIL_CHARACTERS = 300  # kept of what is said about each single game
SIDE_AT_FAULT = frozenset(
    {
        Reason.EXIT_CODE,
        Reason.BAD_OUTPUT,
        Reason.NO_OUTPUT,
        Reason.GAMES_MISMATCH,
        Reason.OUTPUT_TOO_LARGE,
        Reason.NAN,
        Reason.CRASHED,
    }
)
"""What a side does to itself. Every other reason (a time-out, a full disk ...) may be the environment's."""


@dataclass(frozen=True)
class Failure:
    """A game that failed ATTEMPTS times when it was played alone. `game` counts within its block."""

    game: int
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Block:
    """One line, with either scores or an error. `seconds` is measured and decides nothing but max_seconds.

    Where games were played one by one, a score of a game in `failures` is 0 if the side was at fault and None if the
    environment may have been; games after too many of the latter were not played and are None too.
    """

    phase: str  # screen | topup | confirm | duel | measure
    side: str  # candidate | incumbent | c0 ... c6
    block: int
    first_seed: int
    games: int
    scores: tuple[float | None, ...] = ()
    error: str | None = None
    detail: str = ""
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)  # means per game; none where they were played singly

    @property
    def counted(self) -> list[float]:
        """The scores without those of games that were dropped."""
        return [score for score in self.scores if score is not None]


class Ledger:
    """Plays blocks that are not yet in the file, and remembers them all."""

    def __init__(self, folder: Path, control: Control) -> None:
        self._path = folder / LEDGER_NAME
        self._control = control
        self._blocks: dict[tuple[str, str, int], Block] = {}
        for block in _read(self._path):
            self._blocks[block.phase, block.side, block.block] = block

    def games(self, *phases: str) -> int:
        """Games in the file, of these phases and every side."""
        return sum(len(block.counted) for block in self._blocks.values() if block.phase in phases)

    def seconds(self, phase: str) -> float:
        """Time spent on a phase over all attempts, as the lines say."""
        return sum(block.seconds for block in self._blocks.values() if block.phase == phase)

    def metrics(self, phase: str, side: str) -> dict[str, float]:
        """Means per game over the side's blocks of a phase."""
        of_side = [block for block in self._blocks.values() if (block.phase, block.side) == (phase, side)]
        blocks = [block for block in of_side if block.metrics]
        games = sum(block.games for block in blocks)
        names = sorted({name for block in blocks for name in block.metrics})
        return {name: sum(block.metrics.get(name, 0.0) * block.games for block in blocks) / games for name in names}

    def play(self, phase: str, side: str, player: Player, seed: int, span: range, bearable: int | None = None) -> Block:
        """The block of games `span.start` to `span.stop` of a phase (their numbers count from `seed`).

        A technical failure is tried again twice. After the third the line is an error, which the caller interprets; or,
        with `bearable`, the games are played one by one until more than so many had to be dropped.
        """
        key = (phase, side, span.start)
        known = self._blocks.get(key)
        if known is not None:
            return known
        self._control.check()
        started_s = time.monotonic()
        block = _whole(Block(phase, side, span.start, seed + span.start, len(span)), player)
        if block.error is not None and bearable is not None:
            block = self._one_by_one(block, player, bearable)
        block = replace(block, seconds=time.monotonic() - started_s)
        sealed.append_line(self._path, as_json(block))
        self._blocks[key] = block
        self._control.beat(len(self._blocks))
        return block

    def _one_by_one(self, block: Block, player: Player, bearable: int) -> Block:
        """A block that failed as a whole, with what each of its games alone comes to."""
        scores: list[float | None] = []
        failures: list[Failure] = []
        while len(scores) < block.games and scores.count(None) <= bearable:
            game = len(scores)
            played = _attempts(player, block.first_seed + game, 1)
            if isinstance(played, tuple):
                scores += played
            else:
                innocent = [error for error in played if error.reason not in SIDE_AT_FAULT]
                error = innocent[0] if innocent else played[-1]
                scores.append(None if innocent else 0.0)
                failures.append(Failure(game, error.reason, error.detail[-DETAIL_CHARACTERS:]))
            self._control.beat(len(self._blocks))
            self._control.check()  # what is lost by a stop is this block alone
        scores += [None] * (block.games - len(scores))
        return replace(block, scores=tuple(scores), failures=tuple(failures), error=None, detail="")


def _whole(block: Block, player: Player) -> Block:
    """The block with its scores, or with the error of its last attempt."""
    played = _attempts(player, block.first_seed, block.games)
    if not isinstance(played, tuple):
        return replace(block, error=played[-1].reason, detail=played[-1].detail)
    return replace(block, scores=played, metrics=dict(player.metrics) if isinstance(player, Metering) else {})


def _attempts(player: Player, first_seed: int, games: int) -> tuple[float, ...] | list[TrialError]:
    """The scores, or what each attempt failed of."""
    errors: list[TrialError] = []
    while len(errors) < ATTEMPTS:
        try:
            scores = tuple(float(score) for score in player.play(first_seed, games))
            _check(scores, games)
        except TrialError as error:
            errors.append(error)
        else:
            return scores
    return errors


def _check(scores: Sequence[float], games: int) -> None:
    if len(scores) != games:
        raise TrialError("games_mismatch", f"{games} games were asked for, {len(scores)} scores came back")
    odd = [score for score in scores if not 0.0 <= score <= 1.0]  # NaN is in no range
    if odd:
        raise TrialError("nan", f"a score must lie in [0, 1]; {odd[0]!r} does not")


def _read(path: Path) -> tuple[Block, ...]:
    """The blocks in the file. A damaged line goes: its games are played again."""
    found = sealed.drop_damaged_lines(path, lambda line: parse(Block, line))
    if found.damaged:
        print(f"{path}: lines {list(found.damaged)} were damaged; their games are played again", file=sys.stderr)
    return found.whole


def tally(scores: Sequence[float]) -> Tally:
    """Counts of wins (1), losses (0) and everything between as draws."""
    wins = sum(score == 1.0 for score in scores)
    losses = sum(score == 0.0 for score in scores)
    return Tally(wins, len(scores) - wins - losses, losses)


def spans(games: int, block: int, start: int = 0) -> list[range]:
    """Games start to start + games in blocks of at most `block`."""
    return [range(first, min(first + block, start + games)) for first in range(start, start + games, block)]
