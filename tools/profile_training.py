#!/usr/bin/env python3
"""Show where a training's time goes.

The same as `incumbent profile`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import PLACES, SEED, SWITCH, Flag, Script

SCRIPT = Script(
    "profile",
    __doc__,
    (
        Flag("--model-type", "(default: combat_dqn)"),
        Flag("--archetype", "(default: aggressive)"),
        Flag("--seconds", "how long to watch (default: 15)"),
        Flag("--scale", "small or full"),
        Flag("--json", "one JSON object instead of text", SWITCH),
        SEED,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
