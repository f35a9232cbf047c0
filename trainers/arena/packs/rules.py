"""The ten orders of a pack's member, and what its fighters can do, as columns that broadcast over the fights.

A member says what it is after; its legs and its cooldowns decide how: an attack whose target is out of reach is a way
there, and what is not ready or cannot be paid for becomes a strike at whomever the member is after already.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np

from trainers.arena.rules import Floats
from trainers.arena.stats import ARCHETYPES, BANDS, FOE, Fighter

# What a member may be told.
PRESS = 0  # strike the foe it is after already
NEAREST = 1  # go after the nearest foe
WEAKEST = 2  # go after the foe with the least health
ASSIST = 3  # go after the foe that most mates are after
POWER = 4  # wind up the heavy blow, aimed shot or spell
GUARD = 5  # raise the guard; it catches blows at mates nearby
RETREAT = 6  # draw away from the nearest foe
REGROUP = 7  # to the pack's middle
TEND = 8  # heal and strengthen the mate in greatest need, oneself included
CHALLENGE = 9  # bash the foe that is after the weakest mate: it is stunned and turns to the challenger
ORDERS: Final = 10

# What an order may turn into.
APPROACH: Final = 10  # the target is out of reach
STILL: Final = 11  # stunned, winding up, fallen, or the fight is decided

OURS, THEIRS = 0, 1
LARGEST_PACK: Final = 5

TICK_LIMIT: Final = 45
ORDER_TICKS: Final = 3  # how long a member's order stands
JUDGED_LEAD: Final = 0.05
"""At the tick limit the pack with more health left wins if it leads by this share of a whole pack; less is a draw."""

COOLED: Final = (POWER, GUARD, TEND, CHALLENGE)
COOLDOWN: Final = {POWER: 5.0, GUARD: 4.0, TEND: 5.0, CHALLENGE: 7.0}
CHALLENGE_REACH: Final = 3.0
CHALLENGE_TICKS: Final = 5.0  # how long the challenged one sees nobody else
CHALLENGE_POWER: Final = 3.0
PACE: Final = 1.6  # blows and heals are this much greater than in duels: fights of packs are short
SPELL_MANA: Final = 24.0
TEND_MANA: Final = 30.0
WINDUP_TICKS: Final = 1.0

FOES: Final[tuple[Fighter, ...]] = (
    FOE,
    dataclasses.replace(FOE, health=130, attack=1.2, distance=9.0),
    FOE,
    dataclasses.replace(FOE, health=130, attack=1.2, distance=9.0),
    dataclasses.replace(FOE, health=120, attack=0.6, magic=1.1, distance=7.0, mana=160, heal=24),
)
"""The scripted pack at strength 1: brute, archer, brute, archer, shaman; of a smaller one the first ones."""


class Arms:
    """What the fighters of both packs can do, each of shape (2, pack size, 1)."""

    def __init__(self, archetype: str, pack_size: int, foe_strength: float) -> None:
        """Raises ValueError for an unknown archetype or a pack of another size than 2 to 5."""
        if archetype not in ARCHETYPES:
            raise ValueError(f"archetype {archetype!r} does not exist; there are {', '.join(sorted(ARCHETYPES))}")
        if not 2 <= pack_size <= LARGEST_PACK:
            raise ValueError(f"a pack has 2 to {LARGEST_PACK} members, not {pack_size}")
        self.archetype, self.pack_size = archetype, pack_size
        self.member = ARCHETYPES[archetype]
        self.band = BANDS.get(archetype, (0.0, 0.0))
        packs = [[self.member] * pack_size, list(FOES[:pack_size])]
        armed = [[arms_of(fighter) for fighter in pack] for pack in packs]

        def column(name: str, foe_factor: float = 1.0) -> Floats:
            both = np.array([[fighter[name] for fighter in pack] for pack in armed], np.float32)
            both[THEIRS] *= np.float32(foe_factor)
            return both[:, :, None]

        root = math.sqrt(foe_strength)
        self.health = column("health", foe_strength)
        self.strike = column("strike", root)
        self.power = column("power", root)
        self.bash = column("bash", root)
        self.heal = column("heal", root)
        self.strike_reach = column("strike_reach")
        self.power_reach = column("power_reach")
        self.spells = column("spells")
        self.mana = column("mana")
        self.rest = column("rest")
        self.armour = column("armour")
        self.riposte = column("riposte")
        self.speed = column("speed")


def arms_of(fighter: Fighter) -> dict[str, float]:
    """A fighter's numbers in a pack. Who keeps his distance strikes from afar; who has more magic than muscle casts."""
    casts, afar = fighter.magic > fighter.attack, fighter.distance > 4
    force = max(fighter.attack, fighter.magic)
    heavy, heavy_reach = (13.0, 12.0) if afar else (17.0, 2.5)
    return {
        "health": fighter.health,
        "strike": PACE * (3.2 * force if afar else 4.5 * fighter.attack),
        "strike_reach": 10.0 if afar else 2.0,
        "power": PACE * (15.0 * fighter.magic if casts else heavy * fighter.attack),
        "power_reach": 10.0 if casts else heavy_reach,
        "spells": float(casts),
        "bash": PACE * CHALLENGE_POWER * fighter.attack,
        "heal": PACE * fighter.heal,
        "mana": fighter.mana,
        "rest": fighter.rest,
        "armour": fighter.armour,
        "riposte": fighter.riposte,
        "speed": fighter.speed,
    }
