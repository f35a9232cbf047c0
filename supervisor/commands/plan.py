"""`incumbent run --dry-run`: what a start would do, with nothing written and nothing run."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console as RichConsole
from rich.table import Table

from supervisor.console import percent
from supervisor.journal.identity import RunIdentity, first_window, load_identity, lock_is_held
from supervisor.journal.log_scan import scan_log
from supervisor.journal.recovery import known_versions
from supervisor.registry.active import ActiveFile
from supervisor.search.setup import Setup


def _seeds(identity: RunIdentity | None, seed: int) -> str:
    if identity is None or identity.seed == seed:
        return f"seed {seed}"
    return f"seed {identity.seed} (with these flags {seed} from the next iteration on)"


def _at_once(identity: RunIdentity | None, workers: int) -> str:
    window = identity.window if identity else first_window(workers)
    fixed = "was fixed" if identity else "is fixed by the first start"
    return f"trials at a time: {min(workers, window)}; look-ahead of {window} {fixed}"


def print_plan(run_dir: Path, setup: Setup) -> int:
    """The targets in order, with what each trial costs and starts from."""
    settings = setup.settings
    identity = load_identity(run_dir) if run_dir.is_dir() else None
    lines = scan_log(run_dir, after=None, latest=0).count if identity else 0
    active = ActiveFile.read(run_dir) if identity else None
    incumbents = active.targets if active else {}
    table = Table(box=None, pad_edge=False)
    table.add_column("target", overflow="fold")
    for title in ("next", "parameters", "games", "steps", "from", "incumbent"):
        table.add_column(title, no_wrap=True)
    for key, target in setup.targets.items():
        entry = incumbents.get(key)
        fresh = entry is None
        table.add_row(
            key,
            "baseline" if fresh else settings.search.sampler,
            str(len(target.space.names)),
            str(settings.run.baseline_games if fresh else settings.games_of(settings.search.sampler)),
            str(target.steps) if target.steps else "-",
            "scratch" if entry is None or settings.run.start_from == "scratch" else entry.version,
            entry.version if entry else "none yet",
        )
    RichConsole().print(table)
    limit = settings.run.max_iterations
    typer.echo(
        f"{run_dir}: {'run ' + identity.run_id if identity else 'a new run'}, {_seeds(identity, settings.run.seed)},"
        f" {lines} iterations in its log, {sum(map(len, known_versions(run_dir).values())) if identity else 0}"
        f" versions; {'without end' if limit is None else f'until iteration {limit}'}"
    )
    typer.echo(_at_once(identity, settings.run.workers))
    promotion = settings.promotion
    typer.echo(
        f"promotion: {promotion.mode}, at most {percent(promotion.alpha)} false ({promotion.error}), gain above"
        f" {promotion.min_improvement:g}, {promotion.measure_pairs} measuring pairs"
    )
    if run_dir.is_dir() and lock_is_held(run_dir):
        typer.echo("a supervisor is running there now")
    return 0
