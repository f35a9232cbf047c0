"""skill_dqn: which skill of its loadout to use, with embeddings of skills and natures; Double DQN in fights with
another loadout every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms import dqn, dqn_args
from trainers.algorithms.from_play.double_dqn import PlayedDqn
from trainers.algorithms.from_play.learner import FromPlay
from trainers.algorithms.from_play.plan import Pages, Plan
from trainers.arena import levels
from trainers.arena.arena import OBSERVATION_WIDTH
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.arena.skills import ELEMENTS, SLOTS, VOCABULARY, WIDTH, SkillArena
from trainers.evaluate import FightPlayer, entropy_bits, rehearse
from trainers.learner import Case, Floats, Rehearsal, Session, State
from trainers.networks.mlp import Weights
from trainers.networks.skills import SkillQNetwork

NAME: Final = "skill_dqn"
FIGHTS: Final = 512
REHEARSED_FIGHTS: Final = 128


@dataclass(frozen=True)
class Args(dqn_args.Args):
    """Those of Double DQN, and the network's own."""

    embedding: int  # numbers that stand for a skill, and for a nature

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding < 1 or len(self.widths) < 2:
            raise TrialError(Reason.OUT_OF_RANGE, "embedding must be at least 1, hidden two widths or more")


class SkillDqn:
    """A ModelType."""

    args = Args
    names: Mapping[str, str] = {
        **dqn_args.NAMES,
        "embedding": "skills.embedding",
        "learning_rate": "skills.learning_rate",  # embeddings learn too slowly at the archetypes' rates
    }

    def learner(self, case: Case, args: Args, steps: int, seed: int, start: State | None) -> dqn.DoubleDQN:
        """`steps` are environment steps."""
        arena = _arena(FIGHTS, case, seed)
        weights = cast(Mapping[str, Weights] | None, start)
        return dqn.DoubleDQN(args, arena, steps, seed, WIDTH, SLOTS, weights, partial(_network, args))

    def learner_from_play(
        self, case: Case, args: Args, plan: Plan, seed: int, start: State | None, pages: Pages
    ) -> FromPlay:
        torch.manual_seed(seed)
        weights = cast(Mapping[str, Weights] | None, start)
        return FromPlay(PlayedDqn(args, plan.conservatism, _network(args), WIDTH, weights), plan, seed, pages)

    def player(self, case: Case, session: Session) -> FightPlayer:
        strength = levels.strength(case.archetype, case.level, NAME)

        def arena(rows: int) -> SkillArena:
            return SkillArena(rows, case.archetype, case.level, reopen=False, strength=strength)

        policy = _Policy(session)
        return FightPlayer(lambda: policy, arena)

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        policy = _Policy(session)
        arena = _arena(REHEARSED_FIGHTS, Case(case.archetype, case.level, {}), first_seed, reopen=False)
        seen, reward = rehearse(policy, arena)
        measured = {"entropy_bits": entropy_bits(policy(seen), SLOTS), "reward": reward * POINTS_PER_REWARD}
        return Rehearsal(_inputs(seen), measured)

    def baseline(self, case: Case) -> None:
        """The opponent is the traditional AI itself."""


def _network(args: Args) -> SkillQNetwork:
    kind = args.dueling, args.dropout
    return SkillQNetwork(OBSERVATION_WIDTH, SLOTS, VOCABULARY, ELEMENTS, args.embedding, args.widths, *kind)


class _Policy:
    """The slot of the greatest value."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, observation: Floats) -> NDArray[np.int64]:
        slots: NDArray[np.int64] = self._session.run(_inputs(observation))["q_values"].argmax(1)
        return slots


def _inputs(observation: Floats) -> dict[str, Floats]:
    state, skills = observation[:, :OBSERVATION_WIDTH], observation[:, OBSERVATION_WIDTH:]
    return {"state": np.ascontiguousarray(state), "skills": np.ascontiguousarray(skills)}


def _arena(rows: int, case: Case, first_seed: int, reopen: bool = True) -> SkillArena:
    factors = effective_weights(case.archetype, case.rewards)
    strength = levels.strength(case.archetype, case.level, NAME)
    arena = SkillArena(rows, case.archetype, case.level, factors, reopen=reopen, strength=strength)
    arena.start(np.arange(first_seed, first_seed + rows, dtype=np.uint64))
    return arena
