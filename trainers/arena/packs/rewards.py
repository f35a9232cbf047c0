"""The archetype's reward terms paid to the members of a pack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainers.arena.packs.lines import added
from trainers.arena.rewards import TERMS, Events, amount
from trainers.arena.rules import Floats


def member_rewards(archetype: str, weights: Mapping[str, float], events: Events) -> Floats:
    """The reward of one tick, (pack, n) float32; terms are added in the order of `weights`.

    `weights` are `rewards.effective_weights`. A term that speaks of the learner alone pays each member for what it did
    itself; one that speaks of the team pays everyone the pack's mean.
    """
    total = np.zeros_like(events.deaths)
    size = np.float32(total.shape[0])
    for term, weight in weights.items():
        if weight:
            units = amount(term, events)
            if TERMS[archetype][term].team:
                units = added(units) / size
            total += np.float32(weight) * units
    return total
