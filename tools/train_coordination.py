#!/usr/bin/env python3
"""Train and measure a pack of two to five.

The same as `incumbent train-coordination`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import PLACES, SEED, Flag, Script

SCRIPT = Script(
    "train-coordination",
    __doc__,
    (
        Flag("--archetype", "of the pack's members", required=True),
        Flag("--pack-size", "2 to 5 (default: 5)"),
        Flag("--episodes", "fights to train for (default: 1000)"),
        Flag("--games", "fights that measure (default: 1000)"),
        Flag("--output", "folder"),
        SEED,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
