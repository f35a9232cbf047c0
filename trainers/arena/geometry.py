"""Who stands where from whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.arena.fights import Fights, X, Y
from trainers.arena.rules import (
    ALLY,
    FOE,
    LEARNER,
    Floats,
)


@dataclass(frozen=True)
class Geometry:
    """Lines from each fighter to its target: the learner's side minds the foe, the foe the one it has turned to."""

    dx: Floats  # (fighters, n)
    dy: Floats
    distance: Floats  # (fighters, n), never 0
    learner_foe: Floats  # (n,)
    learner_ally: Floats  # (n,); of no meaning without an ally


def measure(f: Fights) -> Geometry:
    """Who stands how far from whom, at the start of a tick."""
    x, y = f.body[X], f.body[Y]
    dx, dy = x[FOE] - x, y[FOE] - y
    learner_ally = dx[LEARNER]
    dx[FOE], dy[FOE] = -dx[LEARNER], -dy[LEARNER]
    if f.sides.allied:
        ax, ay = x[ALLY] - x[LEARNER], y[ALLY] - y[LEARNER]
        learner_ally = np.sqrt(ax * ax + ay * ay)
        dx[FOE] = np.where(f.aim, -dx[ALLY], dx[FOE])
        dy[FOE] = np.where(f.aim, -dy[ALLY], dy[FOE])
    distance = np.sqrt(dx * dx + dy * dy)
    np.maximum(distance, np.float32(0.01), out=distance)
    return Geometry(dx, dy, distance, distance[LEARNER], learner_ally)
