"""team_coordination: what a member of a pack should do now, from what it sees itself; recurrent MAPPO in pack fights.

A game is a whole fight of a pack, all of whose members play the same file, against the scripted pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from trainers.algorithms import mappo
from trainers.arena import levels
from trainers.arena.packs.arena import PackArena
from trainers.arena.packs.observation import BARS, WIDTH
from trainers.arena.packs.rules import LARGEST_PACK, ORDERS
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.evaluate import FightPlayer, entropy_bits
from trainers.learner import Case, Floats, Rehearsal, Session, State
from trainers.networks.layers import Weights

NAME: Final = "team_coordination"
FIGHTS: Final = 256
REHEARSED_FIGHTS: Final = 64


class TeamCoordination:
    """A ModelType. `pack_size` members, 2 to 5, fight as many foes, in training and in games; levels are calibrated for
    five."""

    args = mappo.Args
    names: Mapping[str, str] = {
        name: "training.learning_rate" if name == "learning_rate" else f"mappo.{name}"
        for name in mappo.Args.__dataclass_fields__
    }

    def __init__(self, pack_size: int = LARGEST_PACK) -> None:
        self._pack_size = pack_size

    def learner(self, case: Case, args: mappo.Args, steps: int, seed: int, start: State | None) -> mappo.Mappo:
        """`steps` are orders given, one per member and turn."""
        weights = cast(Mapping[str, Weights] | None, start)
        arena = self._arena(FIGHTS, case)
        arena.start(np.arange(seed, seed + FIGHTS, dtype=np.uint64))
        return mappo.Mappo(args, arena, steps, seed, BARS, weights)

    def player(self, case: Case, session: Session) -> FightPlayer:
        judged = Case(case.archetype, case.level, {})
        return FightPlayer(lambda: RecurrentPolicy(session), lambda rows: self._arena(rows, judged, reopen=False))

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """The reward is a member's in a fight, under the archetype's default weights: those being searched would praise
        themselves."""
        arena = self._arena(REHEARSED_FIGHTS, Case(case.archetype, case.level, {}), reopen=False)
        observation = arena.start(np.arange(first_seed, first_seed + REHEARSED_FIGHTS, dtype=np.uint64))
        policy, seen, given, reward = RecurrentPolicy(session), [], [], 0.0
        while arena.active.any():
            standing = (arena.active[:, None] & (observation[:, :, 0] > 0)).reshape(-1)
            policy.remember(standing.size)
            before = {"observation": observation.reshape(-1, WIDTH), **policy.memory}
            orders = policy(observation)
            seen.append({name: rows[standing] for name, rows in before.items()})
            given.append(orders.reshape(-1)[standing])
            step = arena.step(orders)
            reward += float(step.reward.sum(dtype=np.float64))
            observation = step.observation
        inputs = {name: np.concatenate([rows[name] for rows in seen]) for name in seen[0]}
        measured = {
            "entropy_bits": entropy_bits(np.concatenate(given), ORDERS),
            "reward": reward / (REHEARSED_FIGHTS * self._pack_size) * POINTS_PER_REWARD,
        }
        return Rehearsal(inputs, measured)

    def baseline(self, case: Case) -> None:
        """The opponent is the traditional AI itself."""

    def _arena(self, rows: int, case: Case, reopen: bool = True) -> PackArena:
        strength = levels.strength(case.archetype, case.level, NAME)
        factors = effective_weights(case.archetype, case.rewards)
        return PackArena(rows, case.archetype, case.level, strength, factors, pack_size=self._pack_size, reopen=reopen)


class RecurrentPolicy:
    """The order of the greatest logit for each member; remembers one block of fights, from their beginning."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.memory: dict[str, Floats] = {}

    def remember(self, members: int) -> None:
        """Make room for the members' memories, all zero, unless it is there."""
        if not self.memory:
            shapes = {name: self._session.shapes[name] for name in ("h_in", "c_in")}
            self.memory = {name: np.zeros((members, *shape), np.float32) for name, shape in shapes.items()}

    def __call__(self, observation: Floats) -> NDArray[np.int64]:
        """[rows, pack, 64] -> orders [rows, pack]."""
        rows, pack, width = observation.shape
        self.remember(rows * pack)
        found = self._session.run({"observation": observation.reshape(-1, width), **self.memory})
        self.memory = {"h_in": found["h_out"], "c_in": found["c_out"]}
        orders: NDArray[np.int64] = found["logits"].argmax(1).reshape(rows, pack)
        return orders
