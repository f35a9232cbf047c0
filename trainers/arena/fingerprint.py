"""A short name for the arena's behaviour: two arenas of one fingerprint play the same fights, number for number."""

from __future__ import annotations

import hashlib

import numpy as np

from trainers.arena import levels
from trainers.arena.arena import Arena
from trainers.arena.randomness import uniforms
from trainers.arena.rules import ACTIONS
from trainers.arena.stats import ARCHETYPES

_ROWS, _TICKS = 32, 120


def fingerprint() -> str:
    """sha256 over fights of every archetype and level under fixed actions; the calibrated strengths are left out.

    Levels are calibrated for one fingerprint: a change of rules, numbers, observations or rewards changes it, a change
    of style does not.
    """
    digest = hashlib.sha256()
    seeds = np.arange(_ROWS, dtype=np.uint64)
    for archetype in sorted(ARCHETYPES):
        for level in range(1, levels.LEVELS + 1):
            arena = Arena(_ROWS, archetype, level, strength=1.0)
            digest.update(arena.start(seeds).tobytes())
            for tick in range(_TICKS):
                roll = uniforms(seeds, np.full(_ROWS, tick, np.uint64), 1)[0]
                step = arena.step((roll * ACTIONS).astype(np.int64))
                for array in step:
                    digest.update(array.tobytes())
    return digest.hexdigest()
