#!/usr/bin/env python3
"""See that what was trained is what is served.

The same as `incumbent deploy`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import ALL, ARCHETYPES, MODEL_TYPES, PLACES, Script

SCRIPT = Script(
    "deploy",
    __doc__,
    (
        ALL,
        ARCHETYPES,
        MODEL_TYPES,
        *PLACES,
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
