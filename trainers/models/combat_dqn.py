"""combat_dqn: which of ten combat actions to take, from 64 numbers; Double DQN against the traditional AI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np
import torch

from trainers.algorithms import dqn, dqn_args
from trainers.algorithms.from_play.double_dqn import PlayedDqn
from trainers.algorithms.from_play.learner import FromPlay
from trainers.algorithms.from_play.plan import Pages, Plan
from trainers.algorithms.population import Population, shape
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH, Arena
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.evaluate import FightPlayer, GreedyPolicy, entropy_bits, rehearse
from trainers.learner import Case, Learner, Rehearsal, Session, Stack, State
from trainers.networks.mlp import QNetwork, Weights

FIGHTS: Final = 512
REHEARSED_FIGHTS: Final = 128
INPUT, OUTPUT = "state", "q_values"


class CombatDqn:
    """A ModelType."""

    args = dqn_args.Args
    names: Mapping[str, str] = dqn_args.NAMES

    def learner(self, case: Case, args: dqn_args.Args, steps: int, seed: int, start: State | None) -> dqn.DoubleDQN:
        """`steps` are environment steps."""
        arena = _arena(FIGHTS, case, seed)
        weights = cast(Mapping[str, Weights] | None, start)
        return dqn.DoubleDQN(args, arena, steps, seed, OBSERVATION_WIDTH, ACTION_COUNT, weights)

    def learner_from_play(
        self, case: Case, args: dqn_args.Args, plan: Plan, seed: int, start: State | None, pages: Pages
    ) -> FromPlay:
        torch.manual_seed(seed)
        network = QNetwork(OBSERVATION_WIDTH, args.widths, ACTION_COUNT, args.dueling, args.dropout)
        weights = cast(Mapping[str, Weights] | None, start)
        return FromPlay(PlayedDqn(args, plan.conservatism, network, OBSERVATION_WIDTH, weights), plan, seed, pages)

    def player(self, case: Case, session: Session) -> FightPlayer:
        policy = GreedyPolicy(session, INPUT, OUTPUT)
        return FightPlayer(lambda: policy, lambda rows: Arena(rows, case.archetype, case.level, reopen=False))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """The reward is under the archetype's default weights: those being searched would praise themselves."""
        judged = Case(case.archetype, case.level, {})
        policy = GreedyPolicy(session, INPUT, OUTPUT)
        states, reward = rehearse(policy, _arena(REHEARSED_FIGHTS, judged, first_seed, reopen=False))
        measured = {
            "entropy_bits": entropy_bits(policy(states), ACTION_COUNT),
            "reward": reward * POINTS_PER_REWARD,
        }
        return Rehearsal({INPUT: states}, measured)

    def stacks(self, learners: Sequence[Learner]) -> list[Stack]:
        """Those of one shape learn as one batch."""
        groups: dict[str, list[dqn.DoubleDQN]] = {}
        for learner in learners:
            assert isinstance(learner, dqn.DoubleDQN)
            groups.setdefault(repr(shape(learner)), []).append(learner)
        return [Population(group) for group in groups.values()]

    def memory_mb(self, args: dqn_args.Args) -> float:
        """Of the replay: 64 numbers of four bytes and about twenty bytes more for each step."""
        return args.replay_rows * FIGHTS * (OBSERVATION_WIDTH * 4 + 20) / 2**20

    def baseline(self, case: Case) -> None:
        """The opponent is the traditional AI itself."""


def _arena(rows: int, case: Case, first_seed: int, reopen: bool = True) -> Arena:
    arena = Arena(rows, case.archetype, case.level, effective_weights(case.archetype, case.rewards), reopen=reopen)
    arena.start(np.arange(first_seed, first_seed + rows, dtype=np.uint64))
    return arena
