"""`incumbent status`: what runs, what is best, what is served; read from the files, never in the way of the run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from supervisor.commands.statusresources import Standing, for_people, standing
from supervisor.console import outcome_for_people, percent
from supervisor.contract import Json, Tally
from supervisor.errors import UsageError
from supervisor.journal import requests
from supervisor.journal.identity import RunLock, load_identity, lock_is_held
from supervisor.journal.recovery import recover_reading
from supervisor.journal.requests import Action
from supervisor.journal.trial_folder import DUEL_NAME, DamagedTrialError, all_folders
from supervisor.promotion.wilson import wilson_interval
from supervisor.record import Record
from supervisor.state import State, TargetState

REFRESH_S = 2.0
RECENT = 5
PIPE_WIDTH = 500  # columns: into a pipe or a file nothing is cut


@dataclass(frozen=True)
class Flying:
    """A trial that is proposed and not committed."""

    iteration: int
    target: str
    sampler: str
    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class Status:
    """Everything the command shows."""

    run_dir: Path
    run_id: str
    seed: int
    running_pid: int | None
    paused: bool
    state: State
    standing: Standing
    flying: list[Flying] = field(default_factory=list)
    recent: list[Record] = field(default_factory=list)


def show_status(run_dir: Path, as_json: bool, watch: bool) -> int:
    """Print once, or until Ctrl+C."""
    if as_json:
        typer.echo(json.dumps(as_object(look(run_dir)), indent=2))
        return 0
    console = _console()
    if not watch:
        console.print(render(look(run_dir)))
        return 0
    try:
        if console.is_terminal:
            _refresh(run_dir, console)
        while True:  # into a pipe or a file: one after another
            console.print(render(look(run_dir)))
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        return 0


def _console() -> RichConsole:
    console = RichConsole()
    return console if console.is_terminal or "COLUMNS" in os.environ else RichConsole(width=PIPE_WIDTH)


def _refresh(run_dir: Path, console: RichConsole) -> NoReturn:
    with Live(render(look(run_dir)), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(render(look(run_dir)), refresh=True)


def look(run_dir: Path) -> Status:
    """The state as the files have it now. Raises UsageError where there is no run."""
    identity = load_identity(run_dir) if run_dir.is_dir() else None
    if identity is None:
        raise UsageError(f"{run_dir} holds no run; start one (tools/start_training.sh) or give its --run-dir")
    state, records = recover_reading(run_dir, identity.run_id, RECENT)
    running = lock_is_held(run_dir)
    waiting, _ = requests.waiting(run_dir)
    return Status(
        run_dir=run_dir,
        run_id=identity.run_id,
        seed=identity.seed,
        running_pid=RunLock(run_dir).holder() if running else None,
        paused=any(request.action is Action.PAUSE for request in waiting),
        state=state,
        standing=standing(run_dir, running),
        flying=_flying(run_dir, state.iteration),
        recent=list(records[-RECENT:]),
    )


def _flying(run_dir: Path, committed: int) -> list[Flying]:
    found = []
    for folder in all_folders(run_dir):
        try:
            spec = folder.spec() if folder.iteration > committed else None
        except DamagedTrialError:
            spec = None  # the next start makes it again
        if spec is None:
            continue
        heartbeat = folder.path / "heartbeat"
        text = heartbeat.read_text().strip() if heartbeat.exists() else ""
        stage = (
            "paired test" if (folder.path / DUEL_NAME).exists() else "games" if folder.model.exists() else "training"
        )
        step = int(text) if text.isdigit() and stage == "training" else 0
        found.append(Flying(spec.iteration, spec.target, spec.sampler, stage, step, spec.budget.steps))
    return found


def render(status: Status) -> RenderableType:
    """A table of the targets between two lines of text."""
    state = status.state
    how = f"running, pid {status.running_pid}" if status.running_pid else "not running"
    head = Text(
        f"{status.run_dir}: run {status.run_id}, seed {status.seed}\n"
        f"{how}{', paused' if status.paused else ''}; iteration {state.iteration}, {state.total_games} games\n"
        f"{for_people(status.standing)}\n"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("target", overflow="fold")
    for title in ("incumbent", "win rate", "95 %", "games", "iterations", "promoted"):
        table.add_column(title, justify="right", no_wrap=True)
    for key, target in sorted(state.targets.items()):
        table.add_row(key, *_row(target))
    waits = "" if status.running_pid else ", goes on at the next start"
    now = [
        Text(f"#{trial.iteration} {trial.target} {trial.sampler}: {trial.stage}{_progress(trial)}{waits}")
        for trial in status.flying
    ]
    return Group(head, table, Text(""), _recent(status.recent), *now)


def _recent(records: Sequence[Record]) -> Text:
    """The last iterations, a line each; where the width does not do, its end is cut."""
    rows = [(f"#{record.iteration}", record.target, record.sampler, outcome_for_people(record)) for record in records]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [Text("  ".join([*map(str.ljust, row, widths), row[3]]), "dim") for row in rows]
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _row(target: TargetState) -> list[str]:
    """The incumbent, its rate on fresh games with their number, and how often and how long ago one was promoted."""
    low, high = interval(target.pool)
    since = target.search.since_promotion
    return [
        target.incumbent.name if target.incumbent else "none",
        percent(target.pool.rate),
        f"{100 * low:.0f}-{100 * high:.0f}" if target.pool.games else "-",
        str(target.pool.games),
        str(target.iterations),
        f"{target.promotions}, {since} ago" if target.promotions else "-",
    ]


def interval(pool: Tally) -> tuple[float, float]:
    return wilson_interval(pool.score, pool.games)


def _progress(trial: Flying) -> str:
    return f" {100 * trial.step / trial.steps:.0f} %" if trial.step and trial.steps else ""


def as_object(status: Status) -> dict[str, Json]:
    """The same as JSON."""
    targets: dict[str, Json] = {}
    for key, target in sorted(status.state.targets.items()):
        low, high = interval(target.pool)
        versions: list[Json] = [*sorted(target.versions)]
        targets[key] = {
            "incumbent": target.incumbent.name if target.incumbent else None,
            "best_win_rate": target.pool.rate,
            "ci_low": low if target.pool.games else None,
            "ci_high": high if target.pool.games else None,
            "fresh_games": target.pool.games,
            "iterations": target.iterations,
            "since_promotion": target.search.since_promotion,
            "promotions": target.promotions,
            "versions": versions,
            "rolled_back": list(target.rolled_back),
        }
    return {
        "run_dir": str(status.run_dir),
        "run_id": status.run_id,
        "seed": status.seed,
        "running": status.running_pid is not None,
        "pid": status.running_pid,
        "paused": status.paused,
        "iteration": status.state.iteration,
        "total_games": status.state.total_games,
        "best_target": status.state.best_target(),
        "targets": targets,
        "resources": status.standing.as_object(),
        "in_flight": [
            {"iteration": trial.iteration, "target": trial.target, "stage": trial.stage, "step": trial.step}
            for trial in status.flying
        ],
    }
