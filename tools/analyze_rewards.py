#!/usr/bin/env python3
"""Show what an archetype's reward is made of.

The same as `incumbent analyze-rewards`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import PLACES, SEED, SWITCH, Flag, Script

SCRIPT = Script(
    "analyze-rewards",
    __doc__,
    (
        Flag("--archetype", "(default: all)"),
        Flag("--num-episodes", "fights (default: 100)"),
        Flag("--data", "a folder of collected data instead of fights"),
        Flag("--json", "one JSON object instead of text", SWITCH),
        SEED,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
