"""Recorded steps of play to draw from, prioritized (Schaul et al. 2016), with n-step returns within an episode.

Steps of many episodes lie mixed, as they arrived. Each knows where the step after it lies; whether that still is the
step after it is looked up anew each time, so that nobody needs to tidy up behind what is overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences
from trainers.algorithms.environment import arrays
from trainers.algorithms.replay import PRIORITY_FLOOR, SumTrees

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

UNKNOWN = 0
"""The number of an episode that nobody knows: none of its steps follows another."""

COLUMNS = ("states", "actions", "controls", "rewards", "next_states", "done", "priorities", "episodes", "steps")


@dataclass(frozen=True)
class Drawn:
    """Steps of play: what was seen and done, what it brought within some steps, and where those led."""

    index: Ints  # (rows,), for `update`
    weight: Floats  # (rows,): corrects for how often they are drawn; 1 in the mean, whatever priorities are
    states: Floats  # (rows, width)
    actions: Ints  # (rows,)
    controls: Floats  # (rows, numbers)
    returns: Floats  # (rows,): sum of gamma^k r_k
    discount: Floats  # (rows,): what the value of the state they led to is multiplied by; 0 where the episode ended
    next_states: Floats  # (rows, width)


class PlayMemory:
    """The newest `rows` steps of play. They are drawn in proportion to the game's own priority times (|TD error| +
    floor)^alpha; what was not drawn yet counts as being off as far as any."""

    def __init__(self, rows: int, width: int, numbers: int, gamma: float, alpha: float = 0.0) -> None:
        """`width` numbers are seen, `numbers` of a continuous action done."""
        self._rows, self._gamma, self._alpha = rows, gamma, alpha
        self._states: Floats = np.zeros((rows, width), np.float32)
        self._actions: Ints = np.zeros(rows, np.int64)
        self._controls: Floats = np.zeros((rows, numbers), np.float32)
        self._rewards: Floats = np.zeros(rows, np.float32)
        self._next_states: Floats = np.zeros((rows, width), np.float32)
        self._done: Bools = np.zeros(rows, np.bool_)
        self._priorities: Floats = np.zeros(rows, np.float32)  # the game's own
        self._episodes: Ints = np.zeros(rows, np.int64)
        self._steps: Ints = np.zeros(rows, np.int64)
        self._after: Ints = np.zeros(rows, np.int64)  # where the step after may lie
        self._place: dict[tuple[int, int], int] = {}  # of the newest row by episode and step
        self._tree = SumTrees(1, rows)
        self._largest = 1.0
        self._added = 0

    @property
    def size(self) -> int:
        return min(self._added, self._rows)

    def add(self, rows: Experiences) -> None:
        """In their order; the oldest give way."""
        for begin in range(0, len(rows), self._rows):
            part = rows.where(slice(begin, begin + self._rows))
            index = (self._added + np.arange(len(part))) % self._rows
            self._forget(index)
            for name in COLUMNS:
                getattr(self, f"_{name}")[index] = getattr(part, name)
            self._added += len(part)
            self._link(index)
            self._weigh(index, np.full(len(part), self._largest))

    def _keys(self, index: Ints) -> list[tuple[int, tuple[int, int]]]:
        """Where each row lies, and its episode and step; without those of unknown episodes."""
        known = index[self._episodes[index] != UNKNOWN]
        pairs = zip(self._episodes[known].tolist(), self._steps[known].tolist(), strict=True)
        return list(zip(known.tolist(), pairs, strict=True))

    def _forget(self, index: Ints) -> None:
        for place, key in self._keys(index):
            if self._place.get(key) == place:
                del self._place[key]

    def _link(self, index: Ints) -> None:
        """Tell the step before each row where the row lies, and the row where the step after it does."""
        self._after[index] = index
        keys = self._keys(index)
        for place, key in keys:
            self._place[key] = place
        for place, (episode, step) in keys:
            before, after = self._place.get((episode, step - 1)), self._place.get((episode, step + 1))
            if before is not None:
                self._after[before] = place
            if after is not None:
                self._after[place] = after

    def draw(self, uniforms: Doubles, beta: float, n_step: int) -> Drawn:
        """As many rows as `uniforms` in [0, 1); weights (N P)^-beta over their mean."""
        leaf = self._tree.draw(uniforms[None])[0]
        probability = self._tree.at(leaf) / self._tree.totals[0]
        weight = (self.size * probability) ** -beta
        index = leaf - self._tree.first[0]
        return self._told(index, (weight / weight.mean()).astype(np.float32), n_step)

    def newest(self, n_step: int) -> Drawn:
        """All rows, the oldest first."""
        index = np.arange(self._added - self.size, self._added) % self._rows
        return self._told(index, np.ones(len(index), np.float32), n_step)

    def _told(self, index: Ints, weight: Floats, n_step: int) -> Drawn:
        returns = self._rewards[index]
        going = ~self._done[index]
        last, discount = index, np.full(len(index), self._gamma, np.float32)
        for _ in range(1, n_step):
            following = self._after[last]
            going = going & self._follows(last, following)
            if not going.any():
                break
            returns = np.where(going, returns + discount * self._rewards[following], returns)
            discount = np.where(going, discount * np.float32(self._gamma), discount)
            last = np.where(going, following, last)
            going = going & ~self._done[last]
        return Drawn(
            index=index,
            weight=weight,
            states=self._states[index],
            actions=self._actions[index],
            controls=self._controls[index],
            returns=returns,
            discount=np.where(self._done[last], np.float32(0), discount),
            next_states=self._next_states[last],
        )

    def _follows(self, one: Ints, other: Ints) -> Bools:
        same = self._episodes[one] == self._episodes[other]
        following: Bools = same & (self._steps[one] + 1 == self._steps[other])
        return following

    def update(self, index: Ints, error: Floats) -> None:
        """By how much the values of rows just learnt from were off; of a row drawn twice the last counts."""
        off = error.astype(np.float64) + PRIORITY_FLOOR
        if self._alpha:
            self._largest = max(self._largest, float(off.max()))
            self._weigh(index, off)

    def _weigh(self, index: Ints, off: Doubles) -> None:
        weight = self._priorities[index] * off**self._alpha
        self._tree.set(index[None] + self._tree.first, weight[None])

    def state(self) -> dict[str, object]:
        """Everything; views of the filled part, to be written out before the next `add`."""
        filled = slice(0, self.size)
        columns = {name: getattr(self, f"_{name}")[filled] for name in (*COLUMNS, "after")}
        weights = self._tree.leaves(0)[filled]
        return {**columns, "weights": weights, "largest": self._largest, "added": self._added}

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, into a memory of the same sizes. Raises KeyError or ValueError for another's."""
        state = arrays(saved)
        filled = slice(0, len(state["rewards"]))
        for name in (*COLUMNS, "after"):
            getattr(self, f"_{name}")[filled] = state[name]
        self._tree.restore(0, state["weights"].astype(np.float64))
        self._largest, self._added = float(state["largest"]), int(state["added"])
        oldest_first = np.arange(self._added - self.size, self._added) % self._rows
        self._place = {key: place for place, key in self._keys(oldest_first)}
