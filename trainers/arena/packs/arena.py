"""The pack arena: many fights of a learner's pack against a scripted one, one order per member and step.

(fight seed, actions) fix every number, whatever other fights share the batch and in whatever row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainers.arena.fights import Bools
from trainers.arena.packs import script
from trainers.arena.packs.lines import Lines, measure
from trainers.arena.packs.observation import JOINT_WIDTH, WIDTH, Observer
from trainers.arena.packs.rewards import member_rewards
from trainers.arena.packs.rules import LARGEST_PACK, ORDER_TICKS, ORDERS, THEIRS, Arms
from trainers.arena.packs.script import DRAWS, Drill
from trainers.arena.packs.state import Packs
from trainers.arena.packs.tick import play_tick
from trainers.arena.randomness import LANES, uniforms
from trainers.arena.rewards import Events, effective_weights
from trainers.arena.rules import Floats, Ints

OBSERVATION_WIDTH: Final = WIDTH
CRITIC_WIDTH: Final = JOINT_WIDTH
ORDER_COUNT: Final = ORDERS


class PackStep(NamedTuple):
    """What became of one order of every member. Arrays are new ones: they may be kept."""

    observation: Floats  # (rows, pack, 64): of the next fight where one ended and rows reopen
    reward: Floats  # (rows, pack): shaped, of all its ticks; 0 in rows whose fight is decided
    done: Bools  # (rows,): the fight ended in this step
    score: Floats  # (rows,): 1, 0.5 or 0 where `done`, -1 elsewhere


class PackArena:
    """`rows` fights of one archetype's pack at one strength and drill of the scripted pack."""

    def __init__(
        self,
        rows: int,
        archetype: str,
        level: int,
        strength: float,
        rewards: Mapping[str, float] | None = None,
        *,
        pack_size: int = LARGEST_PACK,
        reopen: bool = True,
        drill: Drill | None = None,
    ) -> None:
        """`rewards` are the factors of `rewards.effective_weights` (default: the archetype's defaults).

        With `reopen` (training) a decided row starts its next fight at once; without (evaluation) it stands still.
        Rows are empty until `start`. Raises ValueError for an unknown archetype or pack size.
        """
        self.rows, self.archetype, self.level, self.reopen, self.pack_size = rows, archetype, level, reopen, pack_size
        self._packs = Packs.empty(Arms(archetype, pack_size, strength), rows)
        self.rewards = dict(effective_weights(archetype, {}) if rewards is None else rewards)
        self._drill = drill or script.drill(level)
        self._observer = Observer(pack_size, rows)
        self._lines: Lines = measure(self._packs)

    def start(self, seeds: ArrayLike, rows: ArrayLike | None = None) -> Floats:
        """Begin fight `seeds[i]` in row `rows[i]` (default: row i) and return the observation of all rows."""
        where = np.arange(self.rows, dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)
        self._packs.open_rows(where, np.asarray(seeds, dtype=np.uint64))
        return self._look()

    def step(self, actions: Ints) -> PackStep:
        """Let the members' orders stand for ORDER_TICKS ticks: integers from 0 to 9 of shape (rows, pack).

        Raises ValueError for others.
        """
        f, size = self._packs, self.pack_size
        if actions.shape != (self.rows, size) or actions.min() < 0 or actions.max() >= ORDERS:
            raise ValueError(f"orders must be {self.rows} x {size} integers from 0 to {ORDERS - 1}")
        reward = np.zeros((size, self.rows), np.float32)
        score = np.full(self.rows, -1, np.float32)
        ordered = np.ascontiguousarray(actions.T)
        for _ in range(ORDER_TICKS):
            events, judged = self._tick(ordered)
            reward += member_rewards(self.archetype, self.rewards, events)
            np.maximum(score, judged, out=score)
        done = score >= 0
        if self.reopen and done.any():
            ended = np.flatnonzero(done)
            f.open_rows(ended, f.seed[ended] + np.uint64(self.rows))
        return PackStep(self._look(), reward.T.copy(order="C"), done, score)

    def _tick(self, ordered: Ints) -> tuple[Events, Floats]:
        f = self._packs
        u = pack_uniforms(f)
        told = np.stack([ordered, script.orders(f, self._lines, THEIRS, self._drill, u[:DRAWS])])
        events, _, score = play_tick(f, told, self._lines, u[DRAWS:])
        self._lines = measure(f)
        return events, score

    @property
    def observation(self) -> Floats:
        """What the members see now, shape (rows, pack, 64)."""
        return self._observer.look(self._packs, self._lines)

    @property
    def joint(self) -> Floats:
        """The whole fights as a critic sees them now, shape (rows, 82)."""
        return self._observer.joint(self._packs)

    @property
    def active(self) -> Bools:
        """Rows whose fight is still undecided, shape (rows,)."""
        return self._packs.active.copy()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that is needed to go on from here bit for bit: copies of numpy arrays by name."""
        return {name: array.copy() for name, array in self._packs.arrays().items()}

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from a saved state. Raises ValueError when it is of another arena."""
        self._packs.restore(saved)
        self._lines = measure(self._packs)

    def _look(self) -> Floats:
        self._lines = measure(self._packs)
        return self._observer.look(self._packs, self._lines)


def pack_uniforms(f: Packs) -> Floats:
    """The tick's uniforms, (DRAWS + 2, pack, n): the script's first, then the noise on the blows of both packs."""
    size, kinds = f.arms.pack_size, DRAWS + 2
    drawn = uniforms(f.seed, f.tick.astype(np.uint64), -(-kinds * size // LANES))
    return drawn[: kinds * size].reshape(kinds, size, -1)
