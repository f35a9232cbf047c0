"""movement_ppo: in which of eight directions to step, or none, while a script fights; proximal policy optimization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np

from supervisor.contract import Params
from trainers.algorithms import ppo
from trainers.arena import levels
from trainers.arena.arena import OBSERVATION_WIDTH, Arena
from trainers.arena.controls import DIRECTIONS
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.evaluate import FightPlayer, GreedyPolicy, entropy_bits, rehearse
from trainers.learner import Case, Rehearsal, Session, State
from trainers.networks.layers import Weights

NAME: Final = "movement_ppo"
FIGHTS: Final = 512
REHEARSED_FIGHTS: Final = 128
INPUT, OUTPUT, VALUE = "state", "direction_logits", "value"

SEARCHED = [name for name in ppo.Args.__dataclass_fields__ if name != "gamma"]
"""The discount is not searched: what the critic foresees could not be judged without it."""


class MovementPpo:
    """A ModelType."""

    args = ppo.Args
    names: Mapping[str, str] = {
        name: "training.learning_rate" if name == "learning_rate" else f"ppo.{name}" for name in SEARCHED
    }

    def learner(self, case: Case, args: ppo.Args, steps: int, seed: int, start: State | None) -> ppo.Ppo:
        """`steps` are environment steps."""
        arena = _arena(FIGHTS, case, case.rewards, seed)
        weights = cast(Mapping[str, Weights] | None, start)
        return ppo.Ppo(args, arena, steps, seed, OBSERVATION_WIDTH, DIRECTIONS, weights, OUTPUT)

    def player(self, case: Case, session: Session) -> FightPlayer:
        policy = GreedyPolicy(session, INPUT, OUTPUT)
        return FightPlayer(lambda: policy, lambda rows: _empty(rows, case, {}, reopen=False))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """The same fights twice: the reward is judged under the archetype's default weights, the critic under those
        that it was trained with.
        """
        policy = GreedyPolicy(session, INPUT, OUTPUT)
        states, reward = rehearse(policy, _arena(REHEARSED_FIGHTS, case, {}, first_seed, reopen=False))
        trained = _arena(REHEARSED_FIGHTS, case, case.rewards, first_seed, reopen=False)
        measured = {
            "entropy_bits": entropy_bits(policy(states), DIRECTIONS),
            "reward": reward * POINTS_PER_REWARD,
            "explained_variance": _foreseen(session, trained),
        }
        return Rehearsal({INPUT: states}, measured)

    def baseline(self, case: Case) -> None:
        """The opponent is the traditional AI itself."""


def _foreseen(session: Session, arena: Arena) -> float:
    """How much of the returns' variance the critic foresees, in an arena's fights played to their ends."""
    values, rewards, actives = [], [], []
    observation = arena.observation
    while (active := arena.active).any():
        said = session.run({INPUT: observation})
        step = arena.step(said[OUTPUT].argmax(1))
        values.append(said[VALUE][:, 0])
        rewards.append(step.reward)
        actives.append(active)
        observation = step.observation
    returns = [np.zeros(arena.rows, np.float64)]
    for reward in reversed(rewards):  # 0 in rows whose fight is decided
        returns.append(reward + ppo.Args.gamma * returns[-1])
    fought = np.stack(actives)
    R, V = np.stack(returns[:0:-1])[fought], np.stack(values)[fought]
    spread = float(np.var(R))
    return 1.0 - float(np.var(R - V)) / spread if spread > 0 else 0.0


def _arena(rows: int, case: Case, rewards: Params, first_seed: int, reopen: bool = True) -> Arena:
    arena = _empty(rows, case, rewards, reopen)
    arena.start(np.arange(first_seed, first_seed + rows, dtype=np.uint64))
    return arena


def _empty(rows: int, case: Case, rewards: Params, reopen: bool) -> Arena:
    factors = effective_weights(case.archetype, rewards)
    strength = levels.strength(case.archetype, case.level, NAME)
    return Arena(rows, case.archetype, case.level, factors, reopen=reopen, strength=strength, control="direction")
