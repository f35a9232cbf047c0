"""`incumbent profile`: where a training's time goes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands import jobs
from supervisor.commands.definitions import definitions, one_target, seed_of
from supervisor.commands.scoretable import columns
from supervisor.contract import as_json
from supervisor.seeds import derive_seed
from supervisor.tasks import ProfileResult, ProfileTask, Trained


@dataclass(frozen=True)
class ProfileOptions:
    """What the command line says."""

    run_dir: Path
    config: Path | None
    archetype: str
    model_type: str
    scale: str | None
    seconds: float
    seed: int | None
    as_json: bool


def profile_training(options: ProfileOptions) -> int:
    """Print a table, the largest part first."""
    known = definitions(options.run_dir, options.config, options.scale)
    target = one_target(known, options.archetype, options.model_type)
    training = Trained(
        target=target.key,
        level=target.level,
        params=target.defaults(),
        steps=target.steps,
        seed=derive_seed(seed_of(options.run_dir, options.seed), "profile", target.key, 0),
    )
    say = _silent if options.as_json else typer.echo
    found = jobs.run(jobs.Job("profile", ProfileTask(training, options.seconds), ProfileResult), say)
    if options.as_json:
        typer.echo(json.dumps({"target": target.key, "scale": target.scale, **as_json(found)}, indent=2))
    else:
        typer.echo(_text(found))
    return 0


def _text(found: ProfileResult) -> str:
    total = sum(found.parts.values()) or 1.0
    largest = sorted(found.parts.items(), key=lambda part: -part[1])
    per_step = 1e3 * 1e3 / max(1, found.steps)
    lines = [(name, f"{100 * s / total:.1f} %", f"{s:.2f}", f"{s * per_step:.2f}") for name, s in largest]
    share = found.outside_kernels
    outside = "" if share is None else f", {100 * share:.0f} % of the time outside torch's kernels"
    table = columns([("part", "share", "seconds", "ms per 1,000 steps"), *lines])
    return f"{table}\n{found.steps_per_s:,.0f} steps/s{outside}"


def _silent(text: str) -> None:
    """Into a pipe goes the JSON alone."""
