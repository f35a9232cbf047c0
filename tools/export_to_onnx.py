#!/usr/bin/env python3
"""Write models as files for elsewhere, with a manifest.

The same as `incumbent export`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import ALL, ARCHETYPES, MODEL_TYPES, PLACES, SWITCH, Flag, Script

SCRIPT = Script(
    "export",
    __doc__,
    (
        ALL,
        ARCHETYPES,
        MODEL_TYPES,
        Flag("--verify", "compare answers with the registered file", SWITCH),
        Flag("--optimize", "fold constants", SWITCH),
        Flag("--fp32", "full precision instead of FP16", SWITCH),
        Flag("--output", "folder (default: exported)"),
        PLACES[0],
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
