"""What a user's program answers, read strictly: one JSON object with its games. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from supervisor.contract import Reason
from supervisor.errors import TrialError

FORM = 'one JSON object {"games":[1,0,0.5,...]} or {"wins":W,"draws":D,"losses":L}'
SHOWN = 200  # characters of an odd answer that are quoted


@dataclass(frozen=True)
class Answer:
    """Scores in order of seed; where only totals came, in an order that is a derived shuffle."""

    scores: tuple[float, ...]
    metrics: Mapping[str, float]


def parse_answer(text: str, games: int, first_seed: int, metrics: Sequence[str]) -> Answer:
    """The answer to `games` games from `first_seed` on.

    The whole text is the object, or its last line is, so that a program may print what it does before. Raises
    TrialError with no_output, bad_output, nan or games_mismatch.
    """
    body = _object(text)
    scores = _listed(body["games"], games) if "games" in body else _shuffled(_totals(body, games), first_seed)
    return Answer(scores, {name: _metric(body, name) for name in metrics})


def _object(text: str) -> dict[str, object]:
    stripped = text.strip()
    if not stripped:
        raise TrialError(Reason.NO_OUTPUT, f"the program ended well but answered nothing; expected {FORM}")
    for candidate in (stripped, stripped.splitlines()[-1]):
        try:
            body = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(body, dict):
            return body
    raise TrialError(Reason.BAD_OUTPUT, f"expected {FORM}; found {stripped[-SHOWN:]!r}")


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TrialError(Reason.BAD_OUTPUT, f"{what} must be a number, not {str(value)[:SHOWN]!r}")
    if not math.isfinite(value):
        raise TrialError(Reason.NAN, f"{what} is {value}")
    return value


def _listed(listed: object, games: int) -> tuple[float, ...]:
    if not isinstance(listed, list):
        raise TrialError(Reason.BAD_OUTPUT, f"games must be a list of scores, not {str(listed)[:SHOWN]!r}")
    scores = tuple(float(_number(score, f"games[{index}]")) for index, score in enumerate(listed))
    if len(scores) != games:
        raise TrialError(Reason.GAMES_MISMATCH, f"{games} games were asked for, {len(scores)} are listed")
    for index, score in enumerate(scores):
        if not 0 <= score <= 1:
            raise TrialError(Reason.BAD_OUTPUT, f"games[{index}] must lie in [0, 1] (loss 0, win 1), not {score}")
    return scores


def _totals(body: Mapping[str, object], games: int) -> tuple[int, int, int]:
    if "wins" not in body or "losses" not in body:
        raise TrialError(Reason.BAD_OUTPUT, f"expected {FORM}; found the keys {sorted(body)}"[: 2 * SHOWN])
    counts = []
    for name in ("wins", "draws", "losses"):
        count = _number(body.get(name, 0), name)
        if count < 0 or count != int(count):
            raise TrialError(Reason.BAD_OUTPUT, f"{name} must be a whole number from 0 on, not {count}")
        counts.append(int(count))
    wins, draws, losses = counts
    if wins + draws + losses != games:
        total = f"{wins} + {draws} + {losses} = {wins + draws + losses}"
        raise TrialError(Reason.GAMES_MISMATCH, f"{games} games were asked for, wins + draws + losses are {total}")
    return wins, draws, losses


def _shuffled(totals: tuple[int, int, int], first_seed: int) -> tuple[float, ...]:
    """The games in an order that depends on the seed alone: batches of the paired test must not see all wins first."""
    wins, draws, losses = totals
    scores = [1.0] * wins + [0.5] * draws + [0.0] * losses
    order = sorted(range(len(scores)), key=lambda index: hashlib.sha256(f"{first_seed}:{index}".encode()).digest())
    return tuple(scores[index] for index in order)


def _metric(body: Mapping[str, object], name: str) -> float:
    if name not in body:
        raise TrialError(Reason.BAD_OUTPUT, f"the metric {name} is listed but not in the answer; add it or unlist it")
    return float(_number(body[name], name))
