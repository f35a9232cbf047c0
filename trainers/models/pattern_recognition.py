"""pattern_recognition: in which of eight styles the foe fights, from a window of what the learner saw.

A game is one situation: right is 1, wrong 0. A level's strength is how much the foe keeps its style to itself, see
`sparring.situations`.
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
from trainers.learner import Case, Floats, Rehearsal, Session, State
from trainers.networks.layers import Weights
from trainers.target import Player

NAME: Final = "pattern_recognition"
INPUT, OUTPUT = "window", "logits"
REHEARSED: Final = 512
BASELINE_TICKS: Final = 16  # as long as a window at scale small
BASELINE_SITUATIONS: Final = 8192

Ints = NDArray[np.int64]
Draw = Callable[[NDArray[np.uint64]], Situations]


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
        draw = _drawing(case, session.shapes[INPUT][0])
        return RecognitionPlayer(draw, lambda windows: session.run({INPUT: windows})[OUTPUT].argmax(1))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        found = _drawing(case, session.shapes[INPUT][0])(_seeds(first_seed, REHEARSED))
        logits = session.run({INPUT: found.windows})[OUTPUT]
        said = logits.argmax(1)
        measured = {
            "accuracy": float((said == found.style).mean()),
            "entropy_bits": entropy_bits(said, len(STYLES)),
        }
        return Rehearsal({INPUT: found.windows}, measured)

    def baseline(self, case: Case) -> tuple[str, Player] | None:
        draw = _drawing(case, BASELINE_TICKS)
        known = draw(_seeds(0, BASELINE_SITUATIONS))
        nearest = contrastive.NearestCentroid(known, len(STYLES))
        return "nearest centroid", RecognitionPlayer(draw, nearest)


class RecognitionPlayer:
    """One side in scored situations: situation s in row s modulo ROWS of a block that is filled up."""

    def __init__(self, draw: Draw, recognise: Callable[[Floats], Ints]) -> None:
        """`recognise` says the style of each of ROWS windows."""
        self._draw, self._recognise = draw, recognise

    def play(self, first_seed: int, games: int) -> list[float]:
        """1 for every situation first_seed, first_seed + 1, ... whose style is recognised, else 0."""
        scores: list[float] = []
        for begin in range(0, games, ROWS):
            scores += self._block(_seeds(first_seed + begin, min(ROWS, games - begin)))
        return scores

    def _block(self, seeds: NDArray[np.uint64]) -> list[float]:
        rows = (seeds % np.uint64(ROWS)).astype(np.int64)
        found = self._draw(seeds)
        windows = np.zeros((ROWS, *found.windows.shape[1:]), np.float32)
        windows[rows] = found.windows
        said = self._recognise(windows)[rows]
        return [float(right) for right in said == found.style]


def _drawing(case: Case, ticks: int) -> Draw:
    reserve = levels.strength(case.archetype, case.level, NAME)
    weights = effective_weights(case.archetype, case.rewards)
    return lambda seeds: situations(case.archetype, case.level, reserve, weights, seeds, ticks)


def _seeds(first: int, count: int) -> NDArray[np.uint64]:
    return np.arange(count, dtype=np.uint64) + np.uint64(first)
