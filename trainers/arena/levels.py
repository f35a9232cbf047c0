"""The calibrated levels: how strong and how skilled the traditional AI is, per model type and archetype.

`levels/<model type>.json` is written by `tools/calibrate_arena.py` (combat_dqn) and `tools/calibrate_models.py`; rates
are never compared across levels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from supervisor.contract import parse
from trainers.arena.traditional import Temper

LEVELS: Final = 5
"""Levels of the curriculum (requirement C14), 1 to 5."""

REACTION: Final = (0.15, 0.3, 0.45, 0.6, 0.75)
DITHER: Final = (0.3, 0.2, 0.1, 0.05, 0.0)
"""By level: how often the traditional AI answers a wind-up, and how often it does nothing."""


_FOLDER = Path(__file__).with_name("levels")
COMBAT: Final = "combat_dqn"


@dataclass(frozen=True)
class Calibration:
    """One archetype's row of a file."""

    start_level: int  # the level at which a default configuration wins 40 to 60 %
    strength: tuple[float, ...]  # of the foe, by level
    measured: Mapping[str, float]  # win rates of untrained networks and default configurations, see the script


def file_of(model_type: str) -> Path:
    """Where a model type's calibration lies."""
    return _FOLDER / f"{model_type}.json"


@cache
def calibrations(model_type: str = COMBAT) -> Mapping[str, Calibration]:
    """The committed calibration of every archetype; what was not calibrated for the model type is combat's."""
    paths = [path for path in (file_of(COMBAT), file_of(model_type)) if path.exists()]
    found = {name: row for path in paths for name, row in json.loads(path.read_bytes())["archetypes"].items()}
    return {name: parse(Calibration, row) for name, row in found.items()}


def calibrated_fingerprint() -> str:
    """Of the arena that combat_dqn was calibrated in; see `fingerprint`."""
    return str(json.loads(file_of(COMBAT).read_text(encoding="utf-8"))["fingerprint"])


def start_level(archetype: str, model_type: str = COMBAT) -> int:
    """The level at which a search of this archetype begins."""
    return calibrations(model_type)[archetype].start_level


def strength(archetype: str, level: int, model_type: str = COMBAT) -> float:
    """The foe's strength. Raises ValueError for a level or an archetype that does not exist."""
    found = calibrations(model_type)
    if archetype not in found:
        raise ValueError(f"archetype {archetype!r} does not exist; there are {', '.join(sorted(found))}")
    if not 1 <= level <= LEVELS:
        raise ValueError(f"level {level} does not exist; levels go from 1 to {LEVELS}")
    return found[archetype].strength[level - 1]


def temper(level: int) -> Temper:
    """How the traditional AI plays at a level from 1 to 5."""
    return Temper(reaction=REACTION[level - 1], dither=DITHER[level - 1])
