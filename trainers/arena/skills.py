"""Skills with a vocabulary: the learner has six of twenty-four, another six in every fight, against a foe of a nature.

A skill is one of the nine combat actions that do something; the five that hurt come in four elements. The foe is weak
to one element and resists another, which its nature tells and no rule book does: a network has to learn what the ids
mean. Everything follows from the fight's seed, so there is nothing to save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainers.arena.arena import OBSERVATION_WIDTH, Arena, Step
from trainers.arena.randomness import Seeds, uniforms
from trainers.arena.rules import (
    BASH,
    BLOCK,
    BUFF,
    CODES,
    DASH,
    HEAL,
    HEAVY,
    SHOT,
    SPELL,
    STRIKE,
    WAIT,
    Floats,
    Ints,
)

ELEMENTS: Final = 4
HURTING: Final = (STRIKE, HEAVY, SHOT, SPELL, BASH)
HELPING: Final = (BLOCK, DASH, HEAL, BUFF)
VOCABULARY: Final = 1 + len(HURTING) * ELEMENTS + len(HELPING)
"""Ids: 0 is resting, then the hurting skills by action and element, then the helping ones."""

SLOTS: Final = 7  # resting, and the loadout
HURTING_SLOTS, HELPING_SLOTS = 4, 2
SKILL_COLUMNS: Final = SLOTS + 1  # the ids in the slots, and the foe's nature
WIDTH: Final = OBSERVATION_WIDTH + SKILL_COLUMNS

WEAK, RESISTS = 1.7, 0.35
"""What an element makes of a blow on a foe that is weak to it or resists it."""

_TICK = np.uint64(2**33)  # beyond any tick of play and the one that places the fighters
_BASE: Final = np.array([WAIT, *np.repeat(HURTING, ELEMENTS), *HELPING])
_FIRST_HELPING: Final = 1 + len(HURTING) * ELEMENTS


@dataclass(frozen=True)
class Loadouts:
    """What the fights' learners can do; the fights stand on the last axis."""

    skills: Ints  # (SLOTS, n): ids
    nature: Ints  # (n,)
    edge: Floats  # (CODES, n): what the skill behind each combat action makes of its blow

    @property
    def columns(self) -> Floats:
        """(n, SKILL_COLUMNS): what the learner sees of it."""
        return np.concatenate([self.skills, self.nature[None]]).T.astype(np.float32)

    def actions(self, slots: Ints) -> Ints:
        """The combat actions behind some slots, shape (n,)."""
        chosen: Ints = _BASE[self.skills[slots, np.arange(len(slots))]]
        return chosen


def loadouts(seeds: Seeds) -> Loadouts:
    """A function of the fights' seeds: four skills that hurt, of one element each, two that help, in any order."""
    n = len(seeds)
    u = uniforms(seeds, np.full(n, _TICK, np.uint64), 6)
    hurting = np.argsort(u[:5], axis=0, kind="stable")[:HURTING_SLOTS]
    element = (u[5:10] * ELEMENTS).astype(np.int64)
    helping = np.argsort(u[10:14], axis=0, kind="stable")[:HELPING_SLOTS]
    nature = (u[14] * ELEMENTS).astype(np.int64)
    own_element = np.take_along_axis(element, hurting, 0)
    loadout = np.concatenate([1 + hurting * ELEMENTS + own_element, _FIRST_HELPING + helping])
    order = np.argsort(u[15:21], axis=0, kind="stable")
    skills = np.concatenate([np.zeros((1, n), np.int64), np.take_along_axis(loadout, order, 0)])
    edge = np.ones((CODES, n), np.float32)
    edge[np.array(HURTING)] = _matchup(element, nature)
    return Loadouts(skills, nature, edge)


def _matchup(element: Ints, nature: Ints) -> Floats:
    resisted = (nature + ELEMENTS // 2) % ELEMENTS
    return np.where(element == nature, np.float32(WEAK), np.where(element == resisted, np.float32(RESISTS), 1)).astype(
        np.float32
    )


class SkillArena(Arena):
    """The arena played with slots: integers from 0 (rest) to 6; it shows the loadout behind the 64 numbers."""

    def __init__(self, rows: int, archetype: str, level: int, *args: Any, **options: Any) -> None:
        super().__init__(rows, archetype, level, *args, **options)
        self._known = loadouts(self._fights.seed)
        self._known_seeds = self._fights.seed.copy()

    def step(self, actions: NDArray[Any]) -> Step:
        """Play one tick; ValueError for what is no slot."""
        if actions.shape != (self.rows,) or actions.min() < 0 or actions.max() >= SLOTS:
            raise ValueError(f"slots must be {self.rows} integers from 0 to {SLOTS - 1}")
        loadout = self._loadouts()
        self._fights.edge = loadout.edge
        return super().step(loadout.actions(actions))

    @property
    def observation(self) -> Floats:
        """Shape (rows, WIDTH)."""
        return self._with_skills(super().observation)

    def _look(self) -> Floats:
        return self._with_skills(super()._look())

    def _with_skills(self, seen: Floats) -> Floats:
        return np.concatenate([seen, self._loadouts().columns], axis=1)

    def _loadouts(self) -> Loadouts:
        seeds = self._fights.seed
        if not np.array_equal(seeds, self._known_seeds):
            self._known, self._known_seeds = loadouts(seeds), seeds.copy()
        return self._known
