"""Who stands where from whom, and the choices among fighters that follow from it.

Sums over fighters are written out one by one: numpy may add in another order when a batch holds a single fight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainers.arena.fights import Bools
from trainers.arena.packs.state import Packs, X, Y
from trainers.arena.rules import Floats, Ints

FAR = np.float32(1e6)  # where the fallen are, for who looks for the nearest
_LEAST = np.float32(0.01)


@dataclass(frozen=True)
class Lines:
    """Between all fighters at the start of a tick. The first axes are (side, of whom, to whom), the last the fights."""

    dx: Floats  # (2, pack, pack, n): from each fighter to those of the other pack
    dy: Floats
    distance: Floats  # never 0
    mates: Floats  # (2, pack, pack, n): to those of the own pack; 0 to oneself


def measure(f: Packs) -> Lines:
    """The lines as they are now, the fallen included."""
    x, y = f.body[X], f.body[Y]
    dx, dy = x[::-1, None] - x[:, :, None], y[::-1, None] - y[:, :, None]
    distance = np.sqrt(dx * dx + dy * dy)
    np.maximum(distance, _LEAST, out=distance)
    mx, my = x[:, None] - x[:, :, None], y[:, None] - y[:, :, None]
    return Lines(dx, dy, distance, np.sqrt(mx * mx + my * my))


def added(parts: Sequence[Floats] | Floats) -> Floats:
    """The sum over the first axis, always in the same order."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def at_target(values: Floats, target: Ints) -> Floats:
    """values (2, pack, pack, n) at each fighter's target (2, pack, n): shape (2, pack, n)."""
    _, size, _, n = values.shape
    cell = (np.arange(2 * size).reshape(2, size, 1) * size + target) * n + np.arange(n)
    found: Floats = values.reshape(-1).take(cell)
    return found


def of_target(values: Bools, target: Ints) -> Bools:
    """values (2, pack, n), given per fighter, of the one of the other pack that each is after."""
    _, size, n = values.shape
    side = np.array([1, 0], np.int64).reshape(2, 1, 1)
    found: Bools = values.reshape(-1).take((side * size + target) * n + np.arange(n))
    return found


def aimed(target: Ints) -> Floats:
    """1 where a fighter is after one of the other pack: (2, pack, pack, n) float32, rows who, columns whom."""
    size = target.shape[1]
    after: Floats = (target[:, :, None] == np.arange(size)[None, None, :, None]).astype(np.float32)
    return after
