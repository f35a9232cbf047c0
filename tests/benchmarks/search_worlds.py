"""Synthetic targets for the search benchmark: a win rate as a function of 25 parameters, and games drawn from it.

Three families with what makes reward and hyperparameter search hard. The default configuration wins 47 %, a good one
about 60 %: each family is scaled so that it is, by a hill climb without noise that no sampler gets to see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from supervisor.contract import Params
from supervisor.search.space import Parameter, Space

Vector = NDArray[np.float64]

SIZE = 25
DEFAULT_RATE, GOOD_RATE = 0.47, 0.60
LATENT = 0.45  # correlation of two sides' latent luck on one seed; of their scores it is about .3
RANGE = 3.0  # every parameter may be a third to three times its default
CLIMB_STEPS = 4000


def space() -> Space:
    names = [f"reward.w{i:02d}" for i in range(SIZE - 5)] + [f"training.h{i}" for i in range(5)]
    return Space(tuple(Parameter(name, "float", 1.0, low=1 / RANGE, high=RANGE, log=True) for name in names))


def centred(params: Params) -> Vector:
    """The place of a configuration, 0 being the default and +-.5 the ends of the ranges."""
    found = space()
    return np.array([item.to_unit(params[item.name]) - 0.5 for item in found.parameters])


def bowl(rng: np.random.Generator) -> Callable[[Vector], float]:
    """A quadratic: nine parameters matter, some only together, and the best is a third of the range away."""
    matters = rng.choice(SIZE, 9, replace=False)
    best = np.zeros(SIZE)
    best[matters] = rng.choice([-1.0, 1.0], 9) * rng.uniform(0.12, 0.32, 9)
    mixing = rng.normal(0.0, 0.4, (9, 9)) + np.diag(rng.uniform(0.8, 1.3, 9))

    def height(place: Vector) -> float:
        away = place - best
        mixed = mixing @ away[matters]
        return -float(mixed @ mixed) - 0.05 * float(away @ away)

    return height


def balances(rng: np.random.Generator) -> Callable[[Vector], float]:
    """Reward weights count by their ratios; a learning rate has a cliff that another parameter moves."""
    pairs = np.array([rng.choice(SIZE - 5, 2, replace=False) for _ in range(8)])
    wanted = rng.uniform(-0.3, 0.3, 8)
    weight = rng.uniform(0.5, 1.5, 8)
    friend = rng.permutation(8)
    best_rest = rng.uniform(-0.2, 0.2, 2)

    def height(place: Vector) -> float:
        balance = np.exp(-(((place[pairs[:, 0]] - place[pairs[:, 1]] - wanted) / 0.3) ** 2))
        gain = float(weight @ balance) + 0.3 * float(balance @ balance[friend])
        rate, batch = place[-5], place[-4]
        cliff = 4.0 / (1.0 + np.exp(-25.0 * (rate - 0.15 - 0.3 * batch)))
        rest = 10.0 * (place[-3] - best_rest[0]) ** 2 + 1.5 * (place[-2] - best_rest[1]) ** 2
        return gain + 1.5 * float(rate) - float(cliff) - float(rest)

    return height


def hills(rng: np.random.Generator) -> Callable[[Vector], float]:
    """A low hill at the default and a higher one elsewhere in six dimensions, under ripples in all."""
    matters = rng.choice(SIZE, 6, replace=False)
    near = rng.uniform(-0.08, 0.08, 6)
    direction = rng.normal(size=6)
    far = 0.42 * direction / np.linalg.norm(direction)
    phase = rng.uniform(0.0, 2 * np.pi, SIZE)

    def height(place: Vector) -> float:
        here = place[matters]
        low = 0.55 * np.exp(-float((here - near) @ (here - near)) / 0.03)
        high = 1.15 * np.exp(-float((here - far) @ (here - far)) / 0.09)
        ripples = 0.02 * float(np.sin(12.0 * place + phase).sum())
        return float(low + high) + ripples - 0.15 * float(place @ place)

    return height


FAMILIES: dict[str, Callable[[np.random.Generator], Callable[[Vector], float]]] = {
    "bowl": bowl,
    "balances": balances,
    "hills": hills,
}


@dataclass(frozen=True)
class World:
    """One member of a family."""

    height: Callable[[Vector], float]
    offset: float
    scale: float

    def rate(self, params: Params) -> float:
        """The true win rate."""
        logit = self.offset + self.scale * self.height(centred(params))
        return float(np.clip(1 / (1 + np.exp(-logit)), 0.02, 0.98))


@cache
def world(family: str, seed: int) -> World:
    rng = np.random.default_rng([list(FAMILIES).index(family), seed])
    height = FAMILIES[family](rng)
    start = np.zeros(SIZE)
    bottom = top = height(start)
    here = start
    for _ in range(CLIMB_STEPS):
        step = rng.normal(0.0, 0.08, SIZE) * (rng.random(SIZE) < 0.25)
        place = np.clip(here + step, -0.5, 0.5)
        if (found := height(place)) > top:
            top, here = found, place
    scale = (_logit(GOOD_RATE) - _logit(DEFAULT_RATE)) / (top - bottom)
    return World(height, _logit(DEFAULT_RATE) - scale * bottom, scale)


def play(rate: float, first_seed: int, games: int, player: int) -> Vector:
    """Scores of games on common seeds: all who play them share one part of the luck, `player` has the other."""
    shared = np.random.default_rng([first_seed, 0]).standard_normal(games)
    own = np.random.default_rng([first_seed, 1 + player]).standard_normal(games)
    latent = np.sqrt(LATENT) * shared + np.sqrt(1 - LATENT) * own
    return np.asarray(latent < ndtri(rate), dtype=float)


def _logit(rate: float) -> float:
    return float(np.log(rate / (1 - rate)))
