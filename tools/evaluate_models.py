#!/usr/bin/env python3
"""Measure models against what a release should reach.

The same as `incumbent evaluate`, under the founding document's name and flags.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.handover import PLACES, SWITCH, Flag, Script

SCRIPT = Script(
    "evaluate",
    __doc__,
    (
        Flag("--archetype", "(default: all)"),
        Flag("--model-type", "(default: all)"),
        Flag("--version", "(default: the incumbent)"),
        Flag("--num-episodes", "games or situations per measurement (default: 1000)"),
        Flag("--save-report", "write reports/evaluation.json", SWITCH),
        Flag("--json", "one JSON object instead of text", SWITCH),
        Flag("--workers", "at a time"),
        PLACES[0],
    ),
)

if __name__ == "__main__":
    SCRIPT.start(__file__)
