"""A cycle of the continuous training: which targets have a lesson, in which order, of how many experiences. Pure.

A cycle begins where a look finds enough new experiences. As in the search a `high` target is in every cycle, a
`medium` one in every third, a `low` one in every tenth (requirement B3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.agenda import STRIDES

BALANCE = 4
"""None learns from more than so many times the new experiences of the archetype that has the fewest."""


@dataclass(frozen=True)
class Pupil:
    """A target that can learn from play: how far it has, and how much is new since."""

    target: str
    frequency: str  # high | medium | low
    last_cycle: int  # that it had a lesson in; 0 where there was none
    new_rows: int = 0

    @property
    def archetype(self) -> str:
        return self.target.split("/", 1)[0]


@dataclass(frozen=True)
class Share:
    """How many new experiences a target learns from in a cycle, the newest."""

    target: str
    rows: int


def in_turn(pupils: Sequence[Pupil], cycle: int) -> list[Pupil]:
    """Those whose class is due in the cycle; one that never had a lesson is."""
    return [pupil for pupil in pupils if pupil.last_cycle == 0 or cycle - pupil.last_cycle >= STRIDES[pupil.frequency]]


def shares(pupils: Sequence[Pupil], at_least: int, at_most: int, balanced: bool) -> list[Share]:
    """The lessons of a cycle in their order: of those with `at_least` new experiences, the classes that come often
    first; where `balanced`, archetypes take turns, and none gets much more than the one with the least."""
    enough = [pupil for pupil in pupils if pupil.new_rows >= at_least]
    archetypes = {pupil.archetype for pupil in enough}
    limit = at_most
    if balanced and len(archetypes) > 1:
        limit = min(at_most, BALANCE * min(_most_of(enough, archetype) for archetype in archetypes))
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, str]] = []
    for pupil in sorted(enough, key=lambda pupil: (STRIDES[pupil.frequency], pupil.target)):
        turn = turns[pupil.archetype] = turns.get(pupil.archetype, -1) + 1
        ranked.append((turn if balanced else 0, STRIDES[pupil.frequency], pupil.target))
    rows = {pupil.target: min(pupil.new_rows, limit) for pupil in enough}
    return [Share(target, rows[target]) for *_, target in sorted(ranked)]


def _most_of(pupils: Sequence[Pupil], archetype: str) -> int:
    return max(pupil.new_rows for pupil in pupils if pupil.archetype == archetype)
