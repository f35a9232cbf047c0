"""temporal_transformer: which of ten combat actions to take, from a foe that does not show everything, with a memory.

Transformer-XL, taught by a teacher that looks ahead and sees all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np

from trainers.algorithms import temporal
from trainers.arena import levels
from trainers.arena.arena import ACTION_COUNT, Arena
from trainers.arena.lookahead import Course, Lookahead
from trainers.arena.partial import partial
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.arena.rules import TICK_LIMIT, Floats, Ints
from trainers.evaluate import FightPlayer, entropy_bits
from trainers.learner import Case, Rehearsal, Session, State
from trainers.networks.layers import Weights
from trainers.target import Player

NAME: Final = "temporal_transformer"
REHEARSED_FIGHTS: Final = 128
REHEARSED_ROWS: Final = 512


class TemporalTransformer:
    """A ModelType."""

    args = temporal.Args
    names: Mapping[str, str] = temporal.NAMES

    def learner(
        self, case: Case, args: temporal.Args, steps: int, seed: int, start: State | None
    ) -> temporal.TemporalImitation:
        """`steps` are environment steps."""
        arena = _arena(case, args.rows, reopen=True)
        arena.start(np.arange(seed, seed + args.rows, dtype=np.uint64))
        teacher = Lookahead(
            lambda rows: _arena(case, rows), Arena.scripted_action, ACTION_COUNT, held=1, horizon=args.horizon
        )
        course = Course(arena, teacher, Arena.scripted_action, ACTION_COUNT, lambda arena: partial(arena.observation))
        weights = cast(Mapping[str, Weights] | None, start)
        return temporal.TemporalImitation(args, course, TICK_LIMIT, steps, seed, weights)

    def player(self, case: Case, session: Session) -> FightPlayer:
        return FightPlayer(lambda: Remembering(session), lambda rows: _arena(case, rows))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """The reward is under the archetype's default weights: those being searched would praise themselves."""
        arena = _arena(Case(case.archetype, case.level, {}), REHEARSED_FIGHTS)
        observation = arena.start(np.arange(first_seed, first_seed + REHEARSED_FIGHTS, dtype=np.uint64))
        policy, reward = Remembering(session), 0.0
        seen: list[dict[str, Floats]] = []
        actions: list[Ints] = []
        while (active := arena.active).any():
            seen.append({name: value[active] for name, value in policy.inputs(observation).items()})
            action = policy(observation)
            actions.append(action[active])
            step = arena.step(action)
            reward += float(step.reward.sum(dtype=np.float64))
            observation = step.observation
        measured = {
            "entropy_bits": entropy_bits(np.concatenate(actions), ACTION_COUNT),
            "reward": reward * POINTS_PER_REWARD / REHEARSED_FIGHTS,
        }
        return Rehearsal(_thinned(seen), measured)

    def baseline(self, case: Case) -> tuple[str, Player] | None:
        return None


class Remembering:
    """The file's policy over one block of fights that begin together: its memory begins empty."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._memory: Floats | None = None
        self._ticks: Floats | None = None

    def inputs(self, observation: Floats) -> dict[str, Floats]:
        """What the file is given next, for observations (rows, 64)."""
        rows = len(observation)
        if self._memory is None or self._ticks is None:
            self._memory = np.zeros((rows, *self._session.shapes["memory_in"]), np.float32)
            self._ticks = np.zeros((rows, 1), np.float32)
        return {"observation": partial(observation), "memory_in": self._memory, "ticks_in": self._ticks}

    def __call__(self, observation: Floats) -> Ints:
        """The best action of each row, of equals the first."""
        answer = self._session.run(self.inputs(observation))
        self._memory, self._ticks = answer["memory_out"], answer["ticks_out"]
        actions: Ints = answer["logits"].argmax(1)
        return actions


def _arena(case: Case, rows: int, reopen: bool = False) -> Arena:
    strength = levels.strength(case.archetype, case.level, NAME)
    weights = effective_weights(case.archetype, case.rewards)
    return Arena(rows, case.archetype, case.level, weights, reopen=reopen, strength=strength)


def _thinned(seen: list[dict[str, Floats]]) -> dict[str, Floats]:
    """Some of the rows of all ticks, evenly: a memory is large."""
    total = sum(len(tick["ticks_in"]) for tick in seen)
    rows = np.linspace(0, total - 1, min(total, REHEARSED_ROWS)).astype(np.int64)
    return {name: np.concatenate([tick[name] for tick in seen])[rows] for name in seen[0]}
