"""Who fights: the numbers of the six archetypes, their companion and their foe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Fighter:
    """One fighter's numbers. Attack, magic and armour are factors, distances are steps, speed is steps per tick."""

    health: float
    attack: float
    magic: float
    armour: float
    speed: float
    distance: float  # where it goes when it waits
    mana: float
    rest: float = 3.0  # mana per tick while it waits, a third of it otherwise
    heal: float = 14.0  # health points one heal restores
    riposte: float = 0.0  # share of a guarded blow that is struck back
    taunt: float = 5.0  # threat that its bash adds


ARCHETYPES: Final[Mapping[str, Fighter]] = MappingProxyType(
    {
        "aggressive": Fighter(110, 1.25, 0.7, 0.95, 1.0, 1.2, 60),
        "defensive": Fighter(115, 0.8, 0.5, 1.15, 0.8, 1.2, 60, riposte=0.5, taunt=25),
        "support": Fighter(95, 0.4, 0.5, 1.0, 0.95, 5.5, 160, rest=1.5, heal=36),
        "mage": Fighter(80, 0.6, 1.5, 0.85, 0.85, 7.5, 140),
        "tank": Fighter(150, 0.45, 0.3, 1.25, 0.7, 1.2, 60, riposte=0.2, taunt=40),
        "ranged": Fighter(90, 1.15, 0.6, 0.9, 1.1, 9.5, 70),
    }
)

ALLIED: Final = frozenset({"defensive", "support", "tank"})
"""Archetypes whose rewards speak of allies: they fight beside a scripted companion."""

BANDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType({"mage": (5.0, 10.0), "ranged": (7.0, 12.0)})
"""The distances at which `optimal_distance` pays."""

COMPANION: Final = Fighter(85, 0.8, 0.6, 0.95, 0.9, 1.4, 60)
FOE: Final = Fighter(180, 1.3, 1.0, 1.0, 0.95, 1.2, 80)
"""The traditional AI's fighter at strength 1; a level's strength scales its health, and its damage by the root."""
