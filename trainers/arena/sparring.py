"""Situations for recognition: a window of a sparring fight, and the style in which the foe fought.

The learner's side is the autopilot's; weapons are blunt, so that nobody falls before the window ends. Style, window and
fight follow from the situation's seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainers.arena import autopilot, levels
from trainers.arena.combat import play_tick
from trainers.arena.fights import Fights, Sides
from trainers.arena.geometry import measure
from trainers.arena.observation import WIDTH, Observer
from trainers.arena.randomness import LANES, Seeds, uniforms
from trainers.arena.rewards import shaped_reward
from trainers.arena.rules import Floats, Ints
from trainers.arena.styles import STYLES, act
from trainers.arena.traditional import DRAWS

BLUNT: Final = np.float32(0.25)
"""Of its damage a blow keeps this much."""

FIRST_TICK, LAST_TICK = 6, 14
"""Windows begin in between: after the walk toward each other, never at a tick that tells something."""

_SITUATION_TICK = np.uint64(2**33)  # draws that lie beyond those of fights, see `fights.open_rows`


@dataclass(frozen=True)
class Situations:
    """n windows of T ticks."""

    windows: Floats  # (n, T, 64): what the learner saw
    style: Ints  # (n,): the foe's, an index into `styles.STYLES`
    returns: Floats  # (n,): what the window's ticks paid, shaped


def situations(
    archetype: str, level: int, reserve: float, rewards: Mapping[str, float], seeds: Seeds, ticks: int
) -> Situations:
    """The situations of these seeds; each depends on its own seed alone.

    The foe acts on its style in one tick out of 1 + `reserve`: the greater, the harder it is to tell. `rewards` are the
    factors of `rewards.effective_weights`.
    """
    n = len(seeds)
    draw = uniforms(seeds, np.full(n, _SITUATION_TICK), 1)
    style = (draw[0] * len(STYLES)).astype(np.int64)
    start = FIRST_TICK + (draw[1] * (LAST_TICK - FIRST_TICK + 1)).astype(np.int64)
    phase = (draw[2] * 8).astype(np.int64)
    shown = np.float32(1 / (1 + reserve))
    f = _fights(archetype, seeds)
    observer = Observer(archetype, level, levels.LEVELS, n)
    windows, returns = np.zeros((n, ticks, WIDTH), np.float32), np.zeros(n, np.float32)
    blocks = -(-(DRAWS + f.sides.count + 1) // LANES)
    for tick in range(LAST_TICK + ticks):
        geometry = measure(f)
        inside = np.flatnonzero((start <= tick) & (tick < start + ticks))
        if len(inside):
            windows[inside, tick - start[inside]] = observer.look(f, geometry)[inside]
        u = uniforms(seeds, f.tick.astype(np.uint64), blocks)
        foe, ally = act(style, u[-1] < shown, phase, f, geometry, u[:DRAWS])
        own = autopilot.fight(f, geometry)
        wishes = np.stack([own, foe] if ally is None else [own, foe, ally])
        events, _ = play_tick(f, wishes, geometry, u[DRAWS : DRAWS + f.sides.count])
        reward = shaped_reward(rewards, events)
        returns[inside] += reward[inside]
    return Situations(windows, style, returns)


def _fights(archetype: str, seeds: Seeds) -> Fights:
    sides = Sides(archetype, 1.0)
    sides.power *= BLUNT
    f = Fights.empty(sides, len(seeds))
    f.open_rows(np.arange(len(seeds)), seeds)
    return f
