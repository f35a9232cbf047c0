"""spatial_vit: in which of nine directions to go, from a map; a script strikes meanwhile.

A vision transformer, taught by a teacher that looks ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np

from trainers.algorithms import spatial
from trainers.arena import levels
from trainers.arena.controls import DIRECTIONS
from trainers.arena.grid import PLANES, SCALARS, SIDE, MappedArena, planes, scalars
from trainers.arena.lookahead import Course, Lookahead
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.arena.rules import Floats, Ints
from trainers.evaluate import FightPlayer, entropy_bits, rehearse
from trainers.learner import Case, Rehearsal, Session, State
from trainers.networks.layers import Weights
from trainers.target import Player

NAME: Final = "spatial_vit"
REHEARSED_FIGHTS: Final = 128
REHEARSED_ROWS: Final = 512
DRAWING: Final = spatial.Drawing(planes, scalars, PLANES, SIDE, SCALARS)


class SpatialVit:
    """A ModelType."""

    args = spatial.Args
    names: Mapping[str, str] = spatial.NAMES

    def learner(
        self, case: Case, args: spatial.Args, steps: int, seed: int, start: State | None
    ) -> spatial.SpatialImitation:
        """`steps` are environment steps."""
        arena = _arena(case, args.rows, reopen=True)
        arena.start(np.arange(seed, seed + args.rows, dtype=np.uint64))
        teacher = Lookahead(
            lambda rows: _arena(case, rows),
            MappedArena.scripted_direction,
            DIRECTIONS,
            held=args.held,
            horizon=args.horizon,
        )
        course = Course(arena, teacher, MappedArena.scripted_direction, DIRECTIONS, lambda arena: arena.observation)
        weights = cast(Mapping[str, Weights] | None, start)
        return spatial.SpatialImitation(args, course, DRAWING, steps, seed, weights)

    def player(self, case: Case, session: Session) -> FightPlayer:
        return FightPlayer(lambda: Steering(session), lambda rows: _arena(case, rows))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """The reward is under the archetype's default weights: those being searched would praise themselves."""
        arena = _arena(Case(case.archetype, case.level, {}), REHEARSED_FIGHTS)
        arena.start(np.arange(first_seed, first_seed + REHEARSED_FIGHTS, dtype=np.uint64))
        policy = Steering(session)
        sketches, reward = rehearse(policy, arena)
        some = np.linspace(0, len(sketches) - 1, min(len(sketches), REHEARSED_ROWS)).astype(np.int64)
        measured = {
            "entropy_bits": entropy_bits(policy(sketches[some]), DIRECTIONS),
            "reward": reward * POINTS_PER_REWARD,
        }
        return Rehearsal(_inputs(sketches[some]), measured)

    def baseline(self, case: Case) -> tuple[str, Player] | None:
        return None


class Steering:
    """The best direction by a file, of equals the first."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, sketch: Floats) -> Ints:
        directions: Ints = self._session.run(_inputs(sketch))["logits"].argmax(1)
        return directions


def _inputs(sketch: Floats) -> dict[str, Floats]:
    return {"grid": planes(sketch), "state": scalars(sketch)}


def _arena(case: Case, rows: int, reopen: bool = False) -> MappedArena:
    strength = levels.strength(case.archetype, case.level, NAME)
    weights = effective_weights(case.archetype, case.rewards)
    return MappedArena(rows, case.archetype, case.level, weights, reopen=reopen, strength=strength, control="direction")
