#!/usr/bin/env python3
"""Train, export, verify, register and measure models.

The same as `incumbent train`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import ALL, ARCHETYPES, MODEL_TYPES, PLACES, SEED, SWITCH, Flag, Script

PARALLEL = "--parallel"


class OneAfterTheOther(Script):
    """Several at a time only where --parallel asks for it."""

    def command_line(self, arguments: Sequence[str]) -> list[str]:
        words = super().command_line(arguments)
        if PARALLEL in words:
            words.remove(PARALLEL)
            return words
        return words if "--workers" in words else [*words, "--workers", "1"]


SCRIPT = OneAfterTheOther(
    "train",
    __doc__,
    (
        ALL,
        ARCHETYPES,
        MODEL_TYPES,
        Flag("--epochs", "hundredths of each model type's budget (default: 100)"),
        Flag("--batch-size", "(default: the model type's)"),
        Flag("--lr", "learning rate (default: the archetype's)"),
        Flag("--device", "auto, cpu or cuda:N"),
        Flag("--scale", "small or full"),
        Flag("--games", "games per measurement (default: 1000)"),
        Flag(PARALLEL, "several trainings at a time (default: one after the other)", SWITCH),
        Flag("--workers", "how many at a time"),
        SEED,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
