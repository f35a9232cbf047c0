"""`incumbent store retain`: old rows into files, older ones removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import typer

from supervisor.commands.store import opened
from supervisor.commands.storeoptions import StoreOptions
from supervisor.experience.keeping.cold import day_name
from supervisor.experience.keeping.retention import FOLDER, Retention
from supervisor.experience.keeping.rules import Ages, Step


@dataclass(frozen=True)
class RetainOptions:
    """Days not given are those of the configuration."""

    store: StoreOptions
    retention_days: int | None
    cold_days: int | None
    dry_run: bool


def retain(options: RetainOptions, now_us: int) -> int:
    """Do it, or print what would be done; 1 where rows had to stay that should have left."""
    with opened(options.store) as it:
        configured = it.settings.experience
        ages = Ages(options.retention_days or configured.retention_days, options.cold_days or configured.cold_days)
        folder = options.store.run_dir / FOLDER
        retention = Retention(it.store, it.caretaker, folder, ages)
        if options.dry_run:
            typer.echo("\n".join(_planned(retention.plan(now_us))))
            return 0
        kept = retention.run(now_us)
    typer.echo(kept.said(str(folder)))
    for note in kept.notes:
        typer.echo(note, err=True)
    return int(bool(kept.notes))


def _planned(steps: Sequence[Step]) -> list[str]:
    lines = [f"{step.fate.value}  {day_name(step.span)}  {step.rows:>10} rows of {step.span.target}" for step in steps]
    return lines or ["nothing is old enough, or read by everybody who reads"]
