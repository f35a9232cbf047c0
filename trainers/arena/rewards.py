"""The reward terms of each archetype, their default weights (requirement C11) and what one unit of each means.

A term is an amount per tick, taken from what happened in the fight; the shaped reward is the weighted sum of the
archetype's terms. The win rate, never this reward, is what a search is judged by. Parameters are `reward.<term>`, with
`reward.scale` for all archetypes and `reward.team_weight`, `reward.individual_weight` where C11 gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from supervisor.contract import Scalar

Floats = NDArray[np.float32]

POINTS_PER_REWARD: Final = 100.0
"""Weights are written in points (a kill is worth 100); a network is given points / 100."""

BAND_TICKS: Final = 10.0
"""Terms of position (`optimal_distance`, `kiting_active`) pay their weight once for every ten ticks held."""


@dataclass(frozen=True)
class Events:
    """What happened to the learner's side in one tick of each fight; every array has shape (fights,).

    Damage and healing are health points, flags are 0 or 1, counts are whole numbers.
    """

    damage_dealt: Floats  # health the foe lost to the learner
    spell_damage: Floats  # the part of it that spells did
    sustained_damage: Floats  # the part of it that landed soon after the learner's hit before
    damage_taken: Floats  # health the learner lost
    damage_blocked: Floats  # what the learner's guard took off the foe's hits
    damage_absorbed: Floats  # what guard and armour together took off them
    allies_protected: Floats  # hits on the ally that the learner's guard caught
    healing_done: Floats  # health restored by the learner, to itself and the ally
    effective_healing: Floats  # the part of it given to an ally below 60 % of its health
    buffs_applied: Floats  # how many of the learner's side gained the buff
    mana_on_spells: Floats  # mana spent on spells
    aggro_count: Floats  # the foe turned from the ally to the learner
    in_band: Floats  # the learner stands in its archetype's best distance
    kiting: Floats  # the learner draws away from a near foe that it hit a moment ago
    kills: Floats  # the foe fell
    spell_kills: Floats  # it fell to a spell of the learner
    deaths: Floats  # the learner fell
    allies_died: Floats  # the ally fell
    survived: Floats  # the fight ended and the learner stands
    ticks_survived: Floats  # 1 while the learner stands; a win pays the ticks it spared as well


def amount(term: str, events: Events) -> Floats:
    """How many units of `term` the tick brought, shape (fights,)."""
    match term:
        case "survival_time":
            return events.ticks_survived
        case "survival" | "survival_bonus":
            return events.survived
        case "spell_kill_bonus":
            return events.spell_kills
        case "optimal_distance":
            return events.in_band / np.float32(BAND_TICKS)
        case "kiting_active":
            return events.kiting / np.float32(BAND_TICKS)
        case "mana_efficiency":
            return events.spell_damage - events.mana_on_spells
        case _:
            found: Floats = getattr(events, term)
            return found


@dataclass(frozen=True)
class Term:
    """One reward weight: its default in points per unit, and whether it speaks of the team or of the learner alone."""

    default: float
    team: bool = False


TERMS: Final[Mapping[str, Mapping[str, Term]]] = MappingProxyType(
    {
        "aggressive": {
            "damage_dealt": Term(2.0),
            "kills": Term(100.0),
            "damage_taken": Term(-0.5),
            "deaths": Term(-50.0),
        },
        "defensive": {
            "survival_time": Term(1.0),
            "damage_blocked": Term(1.5),
            "allies_protected": Term(20.0),
            "survival_bonus": Term(100.0),
        },
        "support": {
            "healing_done": Term(2.0),
            "effective_healing": Term(4.0, team=True),
            "buffs_applied": Term(15.0, team=True),
            "allies_died": Term(-50.0, team=True),
        },
        "mage": {
            "spell_damage": Term(3.0),
            "kills": Term(80.0),
            "spell_kill_bonus": Term(40.0),
            "optimal_distance": Term(10.0),
            "mana_efficiency": Term(0.5),
        },
        "tank": {
            "aggro_count": Term(15.0, team=True),
            "damage_absorbed": Term(2.0),
            "allies_died": Term(-80.0, team=True),
            "survival": Term(150.0),
        },
        "ranged": {
            "sustained_damage": Term(1.5),
            "optimal_distance": Term(15.0),
            "kiting_active": Term(8.0),
            "damage_taken": Term(-1.2),
        },
    }
)

SCALE: Final[Mapping[str, float]] = MappingProxyType({"aggressive": 1.5, "defensive": 1.2})
TEAM_SHARES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType({"support": (0.7, 0.3), "tank": (0.7, 0.3)})
"""(team weight, individual weight) where C11 gives them; elsewhere every term counts once."""


def default_parameters(archetype: str) -> dict[str, float]:
    """Every `reward.*` parameter of the archetype with its default."""
    found = {f"reward.{name}": term.default for name, term in TERMS[archetype].items()}
    found["reward.scale"] = SCALE.get(archetype, 1.0)
    if archetype in TEAM_SHARES:
        found["reward.team_weight"], found["reward.individual_weight"] = TEAM_SHARES[archetype]
    return found


def effective_weights(archetype: str, params: Mapping[str, Scalar]) -> dict[str, float]:
    """The factor of each term's amount in the reward, from the `reward.*` entries of a configuration.

    Missing ones take their default, parameters of other groups are passed over. Raises ValueError that names every
    `reward.*` entry the archetype does not have or that is not a number.
    """
    values = default_parameters(archetype)
    given = {name: value for name, value in params.items() if name.startswith("reward.")}
    wrong = [f"{name}: {archetype} has no such reward" for name in sorted(given) if name not in values]
    for name, value in given.items():
        if isinstance(value, bool | str):
            wrong.append(f"{name}: {value!r} is not a number")
        else:
            values[name] = float(value)
    if wrong:
        raise ValueError("; ".join(wrong))
    shares = values.get("reward.individual_weight", 1.0), values.get("reward.team_weight", 1.0)
    scale = values["reward.scale"] / POINTS_PER_REWARD
    return {name: values[f"reward.{name}"] * shares[term.team] * scale for name, term in TERMS[archetype].items()}


def shaped_reward(weights: Mapping[str, float], events: Events) -> Floats:
    """The reward of one tick, shape (fights,), float32; terms are added in the order of `weights`."""
    total = np.zeros_like(events.deaths)
    for term, weight in weights.items():
        if weight:
            total += np.float32(weight) * amount(term, events)
    return total
