"""What every command starts from: settings and the targets they select, with all mistakes of both at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.load import Loaded
from supervisor.config.settings import Settings
from supervisor.contract import Json
from supervisor.search.definitions import TargetDefinition

BUILT_IN_SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
