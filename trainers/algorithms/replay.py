"""Prioritized experience replay (Schaul et al. 2016) with n-step returns, in numpy, for candidates side by side.

Each candidate's store is a ring of time steps, each as wide as the arena: state t of a fight lies right before its
state t + 1, so no state is kept twice and an n-step return is read off at sampling time. No candidate's numbers depend
on who else is there: they are the same, bit for bit, in a replay of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.algorithms.environment import Cut

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Saved = dict[str, NDArray[np.generic] | int | float]

PRIORITY_FLOOR = 1e-3
"""Added to every |TD error|, so that no transition is forgotten for good."""


class SumTrees:
    """Binary trees whose nodes hold the sum of their children: draws in proportion to the leaves in O(log n).

    A parent is always computed from its two children anew, so rounding never accumulates and the leaves alone restore
    a tree bit for bit. The trees are the lower levels of one heap: the children of node n are 2 n and 2 n + 1,
    whichever tree it is of, and the root of tree k is node `roots[k]`.
    """

    def __init__(self, trees: int, leaves: int) -> None:
        self._depth = max(leaves - 1, 1).bit_length()
        above = 1 << (trees - 1).bit_length()
        self.roots: Ints = above + np.arange(trees)[:, None]
        self.first: Ints = self.roots << self._depth  # leaf of each tree, (trees, 1)
        self._node: Doubles = np.zeros(2 * above << self._depth, np.float64)
        self._levels = [self._node[above << d : 2 * above << d].reshape(above, -1) for d in range(self._depth + 1)]
        self._leaves = leaves

    @property
    def totals(self) -> Doubles:
        """Shape (trees, 1)."""
        return self._node[self.roots]

    def leaves(self, tree: int) -> Doubles:
        """A view, shape (leaves,)."""
        return self._levels[-1][tree, : self._leaves]

    def at(self, node: Ints) -> Doubles:
        return self._node[node]

    def set(self, node: Ints, value: Doubles) -> None:
        """Give some leaves, by their nodes, their values; of a node that is there twice the last counts."""
        self._node[node] = value
        for _ in range(self._depth):
            node = node >> 1
            self._node[node] = self._node[2 * node] + self._node[2 * node + 1]

    def fill(self, trees: Sequence[int] | slice, start: int, count: int, value: Doubles | float) -> None:
        """Give `count` neighbours in some trees one value a tree, (trees, 1); `count` is a power of two and divides
        `start`.
        """
        low, high = start, start + count
        self._levels[-1][trees, low:high] = value
        for below, level in zip(self._levels[:0:-1], self._levels[-2::-1], strict=True):
            low, high = low >> 1, max(high >> 1, (low >> 1) + 1)
            children = below[trees, 2 * low : 2 * high]
            level[trees, low:high] = children[:, 0::2] + children[:, 1::2]

    def restore(self, tree: int, leaves: Doubles) -> None:
        """Give a tree its first leaves, and 0 for the others."""
        self._levels[-1][tree] = 0.0
        self._levels[-1][tree, : len(leaves)] = leaves
        for below, level in zip(self._levels[:0:-1], self._levels[-2::-1], strict=True):
            level[tree] = below[tree, 0::2] + below[tree, 1::2]

    def draw(self, uniforms: Doubles) -> Ints:
        """The node of one leaf per stratum of equal mass; `uniforms` (trees, draws) in [0, 1) place a draw inside its
        stratum.
        """
        draws = uniforms.shape[1]
        mass = (np.arange(draws) + uniforms) * (self.totals / draws)
        node = np.repeat(self.roots, draws, axis=1)
        for _ in range(self._depth):
            node <<= 1
            left = self._node[node]
            # rounding may carry `mass` past the last leaf: never go where there is nothing
            right = (mass >= left) & (self._node[node + 1] > 0.0)
            mass -= left * right
            node += right
        return node


@dataclass(frozen=True)
class Kind:
    """What one candidate's replay has of its own."""

    n_step: int  # rewards summed before the bootstrap
    gamma: float  # discount per step
    alpha: float  # how far priorities skew the draw; 0 is uniform


@dataclass(frozen=True)
class Drawn:
    """Transitions by reference, (candidates, draws).

    `index` points into `Replay.states` and `actions` and is what `update` wants back, `weight` is the
    importance-sampling correction.
    """

    index: Ints
    weight: Floats


@dataclass(frozen=True)
class Returns:
    """n-step returns: `reward` is R = sum of gamma^k r_k, `discount` that of the state at `next_index`: gamma^n, fewer
    steps where the fight was cut short within, and 0 where it ended.
    """

    reward: Floats
    discount: Floats
    next_index: Ints


class Replay:
    """The newest `rows` time steps of `fights` fights of each candidate; `fights` is a power of two.

    A transition can be drawn once the state n steps later is stored. Where a fight was cut short (see
    `environment.Cut`), the state it was in then lies in a second half of `states`, which is there from the first cut
    on.
    """

    def __init__(self, kinds: Sequence[Kind], rows: int, fights: int, width: int) -> None:
        self._n_steps = [kind.n_step for kind in kinds]
        self._most = max(self._n_steps)
        if fights & (fights - 1) or rows <= self._most:
            raise ValueError(f"{fights} fights must be a power of two, {rows} rows more than {self._most} steps")
        count, self._each = len(kinds), rows * fights
        self._rows, self._fights = rows, fights
        self._alphas = [kind.alpha for kind in kinds]
        self._alpha: Doubles = np.array(self._alphas)[:, None]
        self._n: Ints = np.array(self._n_steps)[:, None]
        self._discounts: Floats = np.array(
            [[kind.gamma**k for k in range(self._most + 1)] for kind in kinds], np.float32
        )
        self.states: Floats = np.zeros((count * self._each, width), np.float32)
        self.actions: Ints = np.zeros(count * self._each, np.int64)
        self._rewards: Floats = np.zeros(count * self._each, np.float32)
        self._alive: Floats = np.zeros(count * self._each, np.float32)
        self._was_cut: Bools | None = None  # which of the steps cut their fight short
        self._end: Ints = self._each * np.arange(1, count + 1)[:, None]  # of each candidate's part
        self._trees = SumTrees(count, self._each)
        self._to_leaf: Ints = self._trees.first - self._each * np.arange(count)[:, None]
        self._largest = [1.0] * count
        self.added = 0

    @property
    def sizes(self) -> Ints:
        """How many transitions of each candidate can be drawn, (candidates, 1)."""
        return np.maximum(min(self.added, self._rows) - self._n, 0) * self._fights

    def add(self, state: Floats, action: Ints, reward: Floats, done: NDArray[np.bool_]) -> None:
        """One time step of every fight, (candidates, fights, ...): what was seen, done and earned, and whether that
        ended the fight.
        """
        row = self.added % self._rows
        self._of_step(self.states[: len(self.actions)])[:, row] = state
        self._of_step(self.actions)[:, row] = action
        self._of_step(self._rewards)[:, row] = reward
        self._of_step(self._alive)[:, row] = ~done
        if self._was_cut is not None:
            self._of_step(self._was_cut)[:, row] = False
        everyone = slice(0, len(self._n_steps))
        self._trees.fill(everyone, row * self._fights, self._fights, 0.0)
        priorities = np.array([best**alpha for best, alpha in zip(self._largest, self._alphas, strict=True)])[:, None]
        for n_step in sorted(set(self._n_steps)):
            if self.added < n_step:
                continue
            ready = (self.added - n_step) % self._rows * self._fights
            which = [k for k, own in enumerate(self._n_steps) if own == n_step]
            trees = everyone if len(which) == len(self._n_steps) else which
            self._trees.fill(trees, ready, self._fights, priorities[trees])
        self.added += 1

    def cut(self, candidate: int, cut: Cut) -> None:
        """The newest step of one candidate cut some of its fights short."""
        newest = (self.added - 1) % self._rows * self._fights
        self._cut_at(candidate * self._each + newest + cut.rows, cut.observation)

    def _cut_at(self, index: Ints, observation: Floats) -> None:
        if self._was_cut is None:
            self._was_cut = np.zeros(len(self.actions), np.bool_)
            self.states = np.concatenate([self.states, np.zeros_like(self.states)])
        self._was_cut[index] = True
        self.states[len(self.actions) + index] = observation

    def _of_step(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view by candidate and time step."""
        return array.reshape(-1, self._rows, self._fights, *array.shape[1:])

    def draw(self, uniforms: Doubles, beta: Doubles, batches: int = 1) -> Drawn:
        """As many transitions as `uniforms` (candidates, draws), in proportion to their priorities, one batch
        behind the other, each of them spread over all strata; weights (N P)^-beta, at most 1, with `beta`
        (candidates, 1).
        """
        leaf = self._trees.draw(uniforms)
        leaf = np.ascontiguousarray(leaf.reshape(len(leaf), -1, batches).swapaxes(1, 2)).reshape(leaf.shape)
        probability = self._trees.at(leaf) / self._trees.totals
        weight = (self.sizes * probability) ** -beta
        return Drawn(leaf - self._to_leaf, (weight / weight.max(1, keepdims=True)).astype(np.float32))

    def returns(self, index: Ints) -> Returns:
        """What followed the transitions, each within its own fight."""
        reward, alive = self._rewards[index], self._alive[index]
        node = self._after(index)
        for k in range(1, self._most):
            longer = (alive * self._alive[node], reward + self._discounts[:, k : k + 1] * alive * self._rewards[node])
            following = self._after(node)
            if k >= min(self._n_steps):  # some candidates look no further
                more = k < self._n
                alive, reward = np.where(more, longer[0], alive), np.where(more, longer[1], reward)
                node = np.where(more, following, node)
            else:
                (alive, reward), node = longer, following
        discount = np.take_along_axis(self._discounts, self._n, 1) * alive
        if self._was_cut is not None:
            self._go_on_from_cuts(self._was_cut, index, discount, node)
        return Returns(reward, discount, node)

    def _go_on_from_cuts(self, was_cut: Bools, index: Ints, discount: Floats, next_index: Ints) -> None:
        """A transition whose fight was cut short within its n steps ends in the state where that happened."""
        node, open_still = index, np.ones(index.shape, np.bool_)
        for k in range(self._most):
            here = open_still & was_cut[node] & (k < self._n)
            np.copyto(discount, self._discounts[:, k + 1 : k + 2], where=here)
            np.copyto(next_index, node + len(self.actions), where=here)
            open_still &= self._alive[node] > 0.0
            node = self._after(node)

    def _after(self, index: Ints) -> Ints:
        following = index + self._fights
        return np.where(following >= self._end, following - self._each, following)

    def update(self, index: Ints, error: Floats) -> None:
        """New priorities (|TD error| + floor)^alpha of transitions just learnt from, by the last `error` (>= 0) of each
        that was drawn more than once.
        """
        priority = error.astype(np.float64) + PRIORITY_FLOOR
        news = zip(self._largest, priority.max(1).tolist(), self._alphas, strict=True)
        self._largest = [max(old, new) if alpha else old for old, new, alpha in news]
        if not any(self._alphas):
            return  # all priorities are 1 and stay so
        self._trees.set(index + self._to_leaf, priority**self._alpha)

    def slot(self, candidate: int) -> ReplaySlot:
        return ReplaySlot(self, candidate)

    def state(self, candidate: int) -> Saved:
        """Everything of one candidate, as arrays of the filled part; views, to be written out before the next `add`."""
        filled = slice(candidate * self._each, candidate * self._each + min(self.added, self._rows) * self._fights)
        no_cuts = np.zeros(0, np.int64)
        cuts: Ints = no_cuts if self._was_cut is None else np.flatnonzero(self._was_cut[filled])
        return {
            "states": self.states[filled],
            "actions": self.actions[filled].astype(np.uint8),
            "rewards": self._rewards[filled],
            "alive": self._alive[filled].astype(np.bool_),
            "cuts": cuts,
            "cut_states": self.states[len(self.actions) + filled.start + cuts],
            "priorities": self._trees.leaves(candidate)[: filled.stop - filled.start],
            "added": self.added,
            "largest": self._largest[candidate],
        }

    def load_state(self, candidate: int, state: Mapping[str, NDArray[np.generic] | int | float]) -> None:
        """Raises KeyError or ValueError where `state` is of another shape."""
        arrays = {name: np.asarray(state[name]) for name in ("states", "actions", "rewards", "alive", "priorities")}
        begin = candidate * self._each
        filled = slice(begin, begin + len(arrays["actions"]))
        self.states[filled] = arrays["states"]
        self.actions[filled] = arrays["actions"]
        self._rewards[filled] = arrays["rewards"]
        self._alive[filled] = arrays["alive"]
        cuts = np.asarray(state["cuts"])
        if self._was_cut is not None:
            self._was_cut[begin : begin + self._each] = False
        if len(cuts):
            self._cut_at(begin + cuts, np.asarray(state["cut_states"]))
        self._trees.restore(candidate, arrays["priorities"].astype(np.float64))
        self.added = int(np.asarray(state["added"]))
        self._largest[candidate] = float(np.asarray(state["largest"]))


@dataclass(frozen=True)
class ReplaySlot:
    """One candidate's part of a replay."""

    replay: Replay
    candidate: int

    def state(self) -> Saved:
        return self.replay.state(self.candidate)

    def load_state(self, state: Mapping[str, NDArray[np.generic] | int | float]) -> None:
        self.replay.load_state(self.candidate, state)
