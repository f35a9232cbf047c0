"""The combat arena: many fights between a learner and the traditional AI, one tick per step.

(fight seed, actions) fix every number, whatever other fights share the batch and in whatever row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainers.arena import autopilot, levels
from trainers.arena.combat import play_tick
from trainers.arena.controls import CONTROLS, Actions
from trainers.arena.fights import Bools, Fights, Sides
from trainers.arena.geometry import Geometry, measure
from trainers.arena.observation import WIDTH, Observer
from trainers.arena.randomness import LANES, uniforms
from trainers.arena.rewards import effective_weights, shaped_reward
from trainers.arena.rules import ACTIONS, Floats, Ints
from trainers.arena.traditional import DRAWS, Temper, choose

OBSERVATION_WIDTH: Final = WIDTH
ACTION_COUNT: Final = ACTIONS


class Step(NamedTuple):
    """One tick of every row. Arrays are new ones: they may be kept."""

    observation: Floats  # (rows, 64): of the next fight where one ended and rows reopen
    reward: Floats  # (rows,): shaped; 0 in rows whose fight is decided
    done: Bools  # (rows,): the fight ended in this tick; an end is final, the time left is observed
    score: Floats  # (rows,): 1, 0.5 or 0 where `done`, -1 elsewhere

    @property
    def cut(self) -> None:
        """No fight is ever cut short."""


class Arena:
    """`rows` fights of one archetype at one level."""

    def __init__(
        self,
        rows: int,
        archetype: str,
        level: int,
        rewards: Mapping[str, float] | None = None,
        *,
        reopen: bool = True,
        strength: float | None = None,
        temper: Temper | None = None,
        control: str = "combat",
    ) -> None:
        """`rewards` are the factors of `rewards.effective_weights` (default: the archetype's defaults).

        With `reopen` (training) a decided row starts its next fight at once; without (evaluation) it stands still.
        `strength` and `temper` override the calibrated level; calibration itself needs that. `control` is one of
        `controls.CONTROLS` and says what actions are. Rows are empty until `start`. Raises ValueError for an unknown
        archetype, level or control.
        """
        foe_strength = levels.strength(archetype, level)
        self.rows, self.archetype, self.level, self.reopen = rows, archetype, level, reopen
        self.rewards = dict(effective_weights(archetype, {}) if rewards is None else rewards)
        if control not in CONTROLS:
            raise ValueError(f"control {control!r} does not exist; there are {', '.join(sorted(CONTROLS))}")
        self._control = CONTROLS[control]
        self._temper = temper or levels.temper(level)
        self._fights = Fights.empty(Sides(archetype, strength or foe_strength), rows)
        self._observer = Observer(archetype, level, levels.LEVELS, rows)
        self._geometry: Geometry = measure(self._fights)

    def start(self, seeds: ArrayLike, rows: ArrayLike | None = None) -> Floats:
        """Begin fight `seeds[i]` in row `rows[i]` (default: row i) and return the observation of all rows."""
        fight_seeds = np.asarray(seeds, dtype=np.uint64)
        where = np.arange(self.rows, dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)
        self._fights.open_rows(where, fight_seeds)
        return self._look()

    def step(self, actions: Actions) -> Step:
        """Play one tick with the learner's actions, see `controls`; under combat control integers from 0 to 9 of shape
        (rows,). ValueError for others.
        """
        reward, done, score = self.play(actions)
        return Step(self.observation, reward, done, score)

    def play(self, actions: Actions) -> tuple[Floats, Bools, Floats]:
        """`step` without the observation, which takes half of its time: reward, done and score."""
        f = self._fights
        own, heading = self._control(f, self._geometry, actions)
        blocks = -(-(DRAWS + f.sides.count) // LANES)
        u = uniforms(f.seed, f.tick.astype(np.uint64), blocks)
        foe, ally = choose(f, self._geometry, self._temper, u[:DRAWS])
        wishes = [own, foe] if ally is None else [own, foe, ally]
        events, score = play_tick(f, np.stack(wishes), self._geometry, u[DRAWS : DRAWS + f.sides.count], heading)
        reward = shaped_reward(self.rewards, events)
        done = score >= 0
        if self.reopen and done.any():
            ended = np.flatnonzero(done)
            f.open_rows(ended, f.seed[ended] + np.uint64(self.rows))
        self._geometry = measure(f)
        return reward, done, score

    @property
    def observation(self) -> Floats:
        """What the learner sees now, shape (rows, 64)."""
        return self._observer.look(self._fights, self._geometry)

    @property
    def active(self) -> Bools:
        """Rows whose fight is still undecided, shape (rows,)."""
        return self._fights.active.copy()

    def scripted_action(self) -> Ints:
        """The combat action that the autopilot would choose now, shape (rows,)."""
        return autopilot.fight(self._fights, self._geometry)

    def scripted_direction(self) -> Ints:
        """The direction in which a script would steer now, shape (rows,)."""
        return autopilot.steer(self._fights, self._geometry)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that is needed to go on from here bit for bit: copies of numpy arrays by name."""
        return {name: array.copy() for name, array in self._fights.arrays().items()}

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from a saved state. Raises ValueError when it is of another arena."""
        self._fights.restore(saved)
        self._geometry = measure(self._fights)

    def _look(self) -> Floats:
        self._geometry = measure(self._fights)
        return self._observer.look(self._fights, self._geometry)
