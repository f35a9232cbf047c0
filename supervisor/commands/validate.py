"""`incumbent validate`: every mistake of a configuration and its search spaces, or that there is none."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from supervisor.config.show import render
from supervisor.search.setup import load_setup


def validate_config(config: Path | None, show: bool) -> int:
    """0 when all is well. Raises ConfigurationError (exit code 3) with all mistakes."""
    setup = load_setup(config, os.environ, {})
    if show:
        typer.echo(render(setup.loaded))
    targets = ", ".join(setup.targets)
    typer.echo(f"{config or 'defaults'}: no mistakes; {len(setup.targets)} targets: {targets}")
    return 0
