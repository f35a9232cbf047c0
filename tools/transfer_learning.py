#!/usr/bin/env python3
"""Measure a warm start from another archetype's weights against a cold one.

The same as `incumbent transfer`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import PLACES, SEED, SWITCH, Flag, Script

SCRIPT = Script(
    "transfer",
    __doc__,
    (
        Flag("--source-archetype", "whose weights to start from", required=True),
        Flag("--target-archetype", "what is trained", required=True),
        Flag("--model-type", "of both", required=True),
        Flag("--epochs", "hundredths of the model type's budget (default: 100)"),
        Flag("--num-episodes", "games that judge (default: 1000)"),
        Flag("--json", "one JSON object instead of text", SWITCH),
        SEED,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
