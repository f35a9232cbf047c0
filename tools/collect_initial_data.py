#!/usr/bin/env python3
"""Write experience of archetypes to files.

The same as `incumbent collect`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import ALL, ARCHETYPES, PLACES, SEED, Flag, Script

SCRIPT = Script(
    "collect",
    __doc__,
    (
        ALL,
        ARCHETYPES,
        Flag("--samples-per-archetype", "ticks of fights (default: 10000)"),
        Flag("--source", "traditional, synthetic or database (default: traditional)"),
        Flag("--output", "folder (default: data in the run's)"),
        SEED,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
