"""Prioritized experience replay (Schaul et al. 2016) with n-step returns, in numpy.

The store is a ring of time steps, each as wide as the arena: state t of a fight lies right before its state t + 1, so
no state is kept twice and an n-step return is read off at sampling time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIORITY_FLOOR = 1e-3
"""Added to every |TD error|, so that no transition is forgotten for good."""


class SumTree:
    """A binary tree whose nodes hold the sum of their children: draws in proportion to the leaves in O(log n).

    A parent is always computed from its two children anew, so rounding never accumulates and the leaves alone
    restore the tree bit for bit.
    """

    def __init__(self, leaves: int) -> None:
        self._depth = max(leaves - 1, 1).bit_length()
        self._first = 1 << self._depth
        self._node: Doubles = np.zeros(2 * self._first, np.float64)
        self._leaves = leaves

    @property
    def total(self) -> float:
        return float(self._node[1])

    @property
    def leaves(self) -> Doubles:
        """A view, shape (leaves,)."""
        return self._node[self._first : self._first + self._leaves]

    def set(self, index: Ints, value: Doubles) -> None:
        """Give the leaves `index` (repeats allowed where the values agree) their values."""
        node = index + self._first
        self._node[node] = value
        for _ in range(self._depth):
            node >>= 1
            self._node[node] = self._node[2 * node] + self._node[2 * node + 1]

    def fill(self, start: int, count: int, value: float) -> None:
        """Give `count` neighbours one value; `count` is a power of two and divides `start`."""
        low, high = start + self._first, start + self._first + count
        self._node[low:high] = value
        while low > 1:
            low, high = low >> 1, max(high >> 1, (low >> 1) + 1)
            children = self._node[2 * low : 2 * high]
            self._node[low:high] = children[0::2] + children[1::2]

    def restore(self, leaves: Doubles) -> None:
        self._node[self._first : self._first + self._leaves] = leaves
        for depth in range(self._depth - 1, -1, -1):
            low, high = 1 << depth, 2 << depth
            children = self._node[2 * low : 2 * high]
            self._node[low:high] = children[0::2] + children[1::2]

    def draw(self, uniforms: Doubles) -> Ints:
        """One leaf per stratum of equal mass; `uniforms` in [0, 1) place the draw inside its stratum."""
        mass = (np.arange(len(uniforms)) + uniforms) * (self._node[1] / len(uniforms))
        node = np.ones(len(uniforms), np.int64)
        for _ in range(self._depth):
            node <<= 1
            left = self._node[node]
            # rounding may carry `mass` past the last leaf: never go where there is nothing
            right = (mass >= left) & (self._node[node + 1] > 0.0)
            mass -= left * right
            node += right
        node -= self._first
        return node


@dataclass(frozen=True)
class Drawn:
    """A batch by reference. `index` is what `update` wants back, `weight` the importance-sampling correction."""

    index: Ints
    weight: Floats


@dataclass(frozen=True)
class Returns:
    """n-step returns: `reward` is R = sum of gamma^k r_k, `discount` gamma^n, or 0 where the fight ended within."""

    reward: Floats
    discount: Floats
    next_index: Ints


class Replay:
    """The newest `rows` time steps of `fights` fights; `fights` is a power of two.

    A transition can be drawn once the state n steps later is stored. The end of a fight, by the clock too, is an end:
    the state tells the time.
    """

    def __init__(self, rows: int, fights: int, width: int, n_step: int, alpha: float) -> None:
        if fights & (fights - 1) or rows <= n_step:
            raise ValueError(f"{fights} fights must be a power of two, {rows} rows more than {n_step} steps")
        self._rows, self._fights, self._n_step, self._alpha = rows, fights, n_step, alpha
        self.states: Floats = np.zeros((rows * fights, width), np.float32)
        self.actions: Ints = np.zeros(rows * fights, np.int64)
        self._rewards: Floats = np.zeros(rows * fights, np.float32)
        self._alive: Floats = np.zeros(rows * fights, np.float32)
        self._tree = SumTree(rows * fights)
        self._added = 0
        self._largest = 1.0

    @property
    def size(self) -> int:
        """Transitions that can be drawn."""
        return max(min(self._added, self._rows) - self._n_step, 0) * self._fights

    def add(self, state: Floats, action: Ints, reward: Floats, done: NDArray[np.bool_]) -> None:
        """One time step of every fight: what was seen, done and earned, and whether that ended the fight."""
        start = (self._added % self._rows) * self._fights
        row = slice(start, start + self._fights)
        self.states[row] = state
        self.actions[row] = action
        self._rewards[row] = reward
        np.logical_not(done, out=self._alive[row], casting="unsafe")
        self._tree.fill(start, self._fights, 0.0)
        if self._added >= self._n_step:
            ready = ((self._added - self._n_step) % self._rows) * self._fights
            self._tree.fill(ready, self._fights, self._largest**self._alpha)
        self._added += 1

    def draw(self, uniforms: Doubles, beta: float) -> Drawn:
        """As many transitions as `uniforms`, in proportion to their priorities; weights (N P)^-beta, at most 1."""
        index = self._tree.draw(uniforms)
        probability = self._tree.leaves[index] / self._tree.total
        weight = (self.size * probability) ** -beta
        return Drawn(index, (weight / weight.max()).astype(np.float32))

    def returns(self, index: Ints, gamma: float) -> Returns:
        """What followed the transitions, each within its own fight."""
        reward = self._rewards[index]
        alive = self._alive[index]
        node = index
        for k in range(1, self._n_step):
            node = self._after(node)
            reward = reward + np.float32(gamma**k) * alive * self._rewards[node]
            alive = alive * self._alive[node]
        return Returns(reward, np.float32(gamma**self._n_step) * alive, self._after(node))

    def _after(self, index: Ints) -> Ints:
        following = index + self._fights
        return np.where(following >= len(self.actions), following - len(self.actions), following)

    def update(self, index: Ints, error: Floats) -> None:
        """New priorities (|TD error| + floor)^alpha of transitions just learnt from; `error` is >= 0."""
        priority = error.astype(np.float64) + PRIORITY_FLOOR
        self._largest = max(self._largest, float(priority.max()))
        self._tree.set(index, priority**self._alpha)

    def state(self) -> dict[str, NDArray[np.generic] | int | float]:
        """Everything, as arrays of the filled part; views, to be written out before the next `add`."""
        filled = min(self._added, self._rows) * self._fights
        return {
            "states": self.states[:filled],
            "actions": self.actions[:filled].astype(np.uint8),
            "rewards": self._rewards[:filled],
            "alive": self._alive[:filled].astype(np.bool_),
            "priorities": self._tree.leaves[:filled],
            "added": self._added,
            "largest": self._largest,
        }

    def load_state(self, state: Mapping[str, NDArray[np.generic] | int | float]) -> None:
        """Raises KeyError or ValueError where `state` is of another shape."""
        arrays = {name: np.asarray(state[name]) for name in ("states", "actions", "rewards", "alive", "priorities")}
        filled = len(arrays["actions"])
        self.states[:filled] = arrays["states"]
        self.actions[:filled] = arrays["actions"]
        self._rewards[:filled] = arrays["rewards"]
        self._alive[:filled] = arrays["alive"]
        leaves = np.zeros(len(self.actions), np.float64)
        leaves[:filled] = arrays["priorities"]
        self._tree.restore(leaves)
        self._added = int(np.asarray(state["added"]))
        self._largest = float(np.asarray(state["largest"]))
