"""Which store a command is about; light, because every start of `incumbent` reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.config.settings import Settings


@dataclass(frozen=True)
class StoreOptions:
    """Which store: the address given, else the configuration's, else the file in the run folder."""

    run_dir: Path
    config: Path | None
    url: str | None

    def settings(self) -> Settings:
        """Raises ConfigurationError."""
        from supervisor.config.load import load_settings

        return load_settings(self.config, os.environ, {"experience.url": self.url}).settings
