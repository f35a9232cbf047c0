"""threat_assessment: which of five foes will hurt a pack's member most in the next ticks, and how sure that is; a
calibrated ensemble.

A game is one situation: right is 1, wrong 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from trainers.algorithms import ensemble
from trainers.arena import levels
from trainers.arena.packs.observation import WIDTH
from trainers.arena.packs.rules import LARGEST_PACK
from trainers.arena.packs.situations import CLASSES, Situations, situations
from trainers.arena.rewards import effective_weights
from trainers.evaluate import ROWS, entropy_bits
from trainers.learner import Case, Floats, Rehearsal, Session, State
from trainers.networks.layers import Weights

NAME: Final = "threat_assessment"
INPUT, OUTPUT = "observation", "probabilities"
REHEARSED: Final = 1024

Seeds = NDArray[np.uint64]
Ints = NDArray[np.int64]


class ThreatAssessment:
    """A ModelType."""

    args = ensemble.Args
    names: Mapping[str, str] = {
        name: "training.learning_rate" if name == "learning_rate" else f"threat.{name}"
        for name in ensemble.Args.__dataclass_fields__
    }

    def learner(self, case: Case, args: ensemble.Args, steps: int, seed: int, start: State | None) -> ensemble.Ensemble:
        """`steps` are situations, five of each fight."""
        weights = cast(Mapping[str, Weights] | None, start)
        return ensemble.Ensemble(args, _drawing(case), steps, seed, WIDTH, CLASSES, LARGEST_PACK, weights)

    def player(self, case: Case, session: Session) -> SituationPlayer:
        return SituationPlayer(case, lambda observation, _: session.run({INPUT: observation})[OUTPUT].argmax(1))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        observation, threat, _ = _drawing(case)(_seeds(first_seed, REHEARSED)).chosen()
        said = session.run({INPUT: observation})[OUTPUT].argmax(1)
        measured = {"accuracy": float((said == threat).mean()), "entropy_bits": entropy_bits(said, CLASSES)}
        return Rehearsal({INPUT: observation}, measured)

    def baseline(self, case: Case) -> tuple[str, SituationPlayer]:
        """The nearest foe."""
        return "nearest foe", SituationPlayer(case, lambda _, nearest: nearest)


class SituationPlayer:
    """One side in scored situations: situation s in row s modulo ROWS of a block that is filled up.

    `answer` is given what all rows see, (ROWS, 64), and their nearest foes, (ROWS,).
    """

    def __init__(self, case: Case, answer: Callable[[Floats, Ints], Ints]) -> None:
        self._draw, self._answer = _drawing(case), answer

    def play(self, first_seed: int, games: int) -> list[float]:
        """1 for every situation first_seed, first_seed + 1, ... that is assessed rightly, else 0."""
        scores: list[float] = []
        for begin in range(0, games, ROWS):
            scores += self._block(_seeds(first_seed + begin, min(ROWS, games - begin)))
        return scores

    def _block(self, seeds: Seeds) -> list[float]:
        rows = (seeds % np.uint64(ROWS)).astype(np.int64)
        found = self._draw(seeds).chosen()
        observation, nearest = np.zeros((ROWS, WIDTH), np.float32), np.zeros(ROWS, np.int64)
        observation[rows], nearest[rows] = found[0], found[2]
        return [float(right) for right in self._answer(observation, nearest)[rows] == found[1]]


def _drawing(case: Case) -> Callable[[Seeds], Situations]:
    whim = levels.strength(case.archetype, case.level, NAME)
    weights = effective_weights(case.archetype, case.rewards)
    return lambda seeds: situations(case.archetype, case.level, whim, weights, seeds)


def _seeds(first: int, count: int) -> Seeds:
    return np.arange(count, dtype=np.uint64) + np.uint64(first)
