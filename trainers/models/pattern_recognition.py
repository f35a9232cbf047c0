"""pattern_recognition: in which of eight styles the foe fights, from a window of what the learner saw.

A game is one situation: right is 1, wrong 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from trainers.algorithms import contrastive
from trainers.arena import levels
from trainers.arena.observation import WIDTH
from trainers.arena.rewards import effective_weights
from trainers.arena.sparring import Situations, situations
from trainers.arena.styles import STYLES
from trainers.evaluate import ROWS, entropy_bits
from trainers.learner import Case, Rehearsal, Session, State
from trainers.networks.layers import Weights

NAME: Final = "pattern_recognition"
INPUT, OUTPUT = "window", "logits"
REHEARSED: Final = 1024


class PatternRecognition:
    """A ModelType."""

    args = contrastive.Args
    names: Mapping[str, str] = contrastive.NAMES

    def learner(
        self, case: Case, args: contrastive.Args, steps: int, seed: int, start: State | None
    ) -> contrastive.ContrastiveRecognition:
        """`steps` are situations."""
        weights = cast(Mapping[str, Weights] | None, start)
        draw = _drawing(case, args.ticks)
        return contrastive.ContrastiveRecognition(args, draw, steps, seed, WIDTH, len(STYLES), weights)

    def player(self, case: Case, session: Session) -> RecognitionPlayer:
        return RecognitionPlayer(case, session)

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        found = _drawing(case, session.shapes[INPUT][0])(_seeds(first_seed, REHEARSED))
        logits = session.run({INPUT: found.windows})[OUTPUT]
        said = logits.argmax(1)
        measured = {
            "accuracy": float((said == found.style).mean()),
            "entropy_bits": entropy_bits(said, len(STYLES)),
        }
        return Rehearsal({INPUT: found.windows}, measured)


class RecognitionPlayer:
    """One side in scored situations: situation s in row s modulo ROWS of a block that is filled up."""

    def __init__(self, case: Case, session: Session) -> None:
        self._ticks = session.shapes[INPUT][0]
        self._session, self._draw = session, _drawing(case, self._ticks)

    def play(self, first_seed: int, games: int) -> list[float]:
        """1 for every situation first_seed, first_seed + 1, ... whose style is recognised, else 0."""
        scores: list[float] = []
        for begin in range(0, games, ROWS):
            scores += self._block(_seeds(first_seed + begin, min(ROWS, games - begin)))
        return scores

    def _block(self, seeds: NDArray[np.uint64]) -> list[float]:
        rows = (seeds % np.uint64(ROWS)).astype(np.int64)
        found = self._draw(seeds)
        windows = np.zeros((ROWS, self._ticks, WIDTH), np.float32)
        windows[rows] = found.windows
        said = self._session.run({INPUT: windows})[OUTPUT].argmax(1)[rows]
        return [float(right) for right in said == found.style]


def _drawing(case: Case, ticks: int) -> Callable[[NDArray[np.uint64]], Situations]:
    reserve = levels.strength(case.archetype, case.level, NAME)
    weights = effective_weights(case.archetype, case.rewards)
    return lambda seeds: situations(case.archetype, case.level, reserve, weights, seeds, ticks)


def _seeds(first: int, count: int) -> NDArray[np.uint64]:
    return np.arange(count, dtype=np.uint64) + np.uint64(first)
