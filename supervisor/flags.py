"""Flags that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunDir = Annotated[Path, typer.Option(help="Folder that holds the run's state.")]
Config = Annotated[Path | None, typer.Option(help="Configuration file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
DEFAULT_RUN_DIR = Path("checkpoints")


def names(text: str | None) -> list[str]:
    """A comma-separated list; none for all."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else []
