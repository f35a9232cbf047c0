"""soft_actor_critic: where to step, how hard to attack and when to guard, as four numbers; soft actor-critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
import torch

from supervisor.contract import Params
from trainers.algorithms import sac
from trainers.algorithms.from_play.learner import FromPlay
from trainers.algorithms.from_play.plan import Pages, Plan
from trainers.algorithms.from_play.soft_actor_critic import PlayedSac
from trainers.arena import levels
from trainers.arena.arena import OBSERVATION_WIDTH, Arena
from trainers.arena.controls import PAD
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.evaluate import FightPlayer, entropy_bits, rehearse
from trainers.learner import Case, Floats, Rehearsal, Session, State
from trainers.networks.layers import Weights

NAME: Final = "soft_actor_critic"
FIGHTS: Final = 128
REHEARSED_FIGHTS: Final = 128
INPUT, OUTPUT = "state", "action"
CORNERS: Final = 2**PAD


class SoftActorCritic:
    """A ModelType."""

    args = sac.Args
    names: Mapping[str, str] = {
        name: "training.learning_rate" if name == "learning_rate" else f"sac.{name}"
        for name in sac.Args.__dataclass_fields__
    }

    def learner(self, case: Case, args: sac.Args, steps: int, seed: int, start: State | None) -> sac.Sac:
        """`steps` are environment steps."""
        arena = _started(FIGHTS, case, case.rewards, seed)
        weights = cast(Mapping[str, Weights] | None, start)
        return sac.Sac(args, arena, steps, seed, OBSERVATION_WIDTH, PAD, weights)

    def learner_from_play(
        self, case: Case, args: sac.Args, plan: Plan, seed: int, start: State | None, pages: Pages
    ) -> FromPlay:
        torch.manual_seed(seed)
        weights = cast(Mapping[str, Weights] | None, start)
        return FromPlay(PlayedSac(args, plan.conservatism, OBSERVATION_WIDTH, PAD, weights), plan, seed, pages)

    def player(self, case: Case, session: Session) -> FightPlayer:
        policy = _Policy(session)
        return FightPlayer(lambda: policy, lambda rows: _arena(rows, case, {}, reopen=False))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """The reward is under the archetype's default weights: those being searched would praise themselves.

        The entropy is that of the signs of the four numbers: at most four bits.
        """
        policy = _Policy(session)
        states, reward = rehearse(policy, _started(REHEARSED_FIGHTS, case, {}, first_seed, reopen=False))
        corner = (policy(states) > 0) @ (1 << np.arange(PAD))
        measured = {"entropy_bits": entropy_bits(corner, CORNERS), "reward": reward * POINTS_PER_REWARD}
        return Rehearsal({INPUT: states}, measured)

    def baseline(self, case: Case) -> None:
        """The opponent is the traditional AI itself."""


class _Policy:
    """The likeliest action, within [-1, 1], where a runtime's rounding may have left it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, observation: Floats) -> Floats:
        return np.clip(self._session.run({INPUT: observation})[OUTPUT], np.float32(-1), np.float32(1))


def _started(rows: int, case: Case, rewards: Params, first_seed: int, reopen: bool = True) -> Arena:
    arena = _arena(rows, case, rewards, reopen)
    arena.start(np.arange(first_seed, first_seed + rows, dtype=np.uint64))
    return arena


def _arena(rows: int, case: Case, rewards: Params, reopen: bool) -> Arena:
    factors = effective_weights(case.archetype, rewards)
    strength = levels.strength(case.archetype, case.level, NAME)
    return Arena(rows, case.archetype, case.level, factors, reopen=reopen, strength=strength, control="pad")
