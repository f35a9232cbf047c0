"""`incumbent analyze-rewards`: how large an archetype's reward is, how often it comes, and what it is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands import jobs
from supervisor.commands.chosen import refuse_unknown
from supervisor.commands.definitions import definitions, one_target, seed_of
from supervisor.commands.scoretable import columns
from supervisor.contract import Json, as_json
from supervisor.errors import UsageError
from supervisor.registry.active import ActiveFile
from supervisor.registry.store import FOLDER_NAME
from supervisor.seeds import derive_seed
from supervisor.tasks import Distribution, RewardsResult, RewardsResults, RewardsTask, RewardsTasks

MODEL_TYPE = "combat_dqn"
SHOWN = ("1", "25", "50", "75", "99")
TITLES = ("archetype", "of", "count", "mean", "sd", *(f"{percent} %" for percent in SHOWN), "no reward", "NaN or inf")


@dataclass(frozen=True)
class RewardsOptions:
    """What the command line says. `data` is a folder of incumbent collect."""

    run_dir: Path
    config: Path | None
    archetype: str | None
    episodes: int
    seed: int | None
    data: Path | None
    as_json: bool


def analyze_rewards(options: RewardsOptions) -> int:
    """Print a table; 1 where numbers are not finite."""
    tasks = _of_data(options, options.data) if options.data else _of_fights(options)
    found = jobs.run(jobs.Job("rewards", RewardsTasks(tuple(tasks)), RewardsResults), _silent).results
    pairs = list(zip(tasks, found, strict=True))
    if options.as_json:
        report: dict[str, Json] = {task.archetype: as_json(result) for task, result in pairs}
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(_text(pairs))
    return 1 if any(result.ticks.not_finite or result.bad_states for result in found) else 0


def _of_fights(options: RewardsOptions) -> list[RewardsTask]:
    known = definitions(options.run_dir, options.config)
    archetypes = sorted({key.split("/")[0] for key in known})
    if options.archetype is not None:
        refuse_unknown([([options.archetype], archetypes)])
    active = ActiveFile.read(options.run_dir) if options.run_dir.is_dir() else None
    tasks = []
    for archetype in [options.archetype] if options.archetype else archetypes:
        target = one_target(known, archetype, MODEL_TYPE)
        entry = active.targets.get(target.key) if active else None
        params = entry.as_version().params if entry else target.defaults()
        tasks.append(
            RewardsTask(
                archetype=archetype,
                level=entry.level if entry else target.level,
                rewards={name: value for name, value in params.items() if name.startswith("reward.")},
                episodes=options.episodes,
                seed=derive_seed(seed_of(options.run_dir, options.seed), "rewards", archetype, 0),
                models=str(options.run_dir / FOLDER_NAME),
                model_sha256=entry.model_sha256 if entry else None,
            )
        )
    return tasks


def _of_data(options: RewardsOptions, folder: Path) -> list[RewardsTask]:
    files = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    if not files:
        raise UsageError(f"{folder} holds no data; incumbent collect --all --output {folder} makes some")
    if options.archetype is not None:
        refuse_unknown([([options.archetype], files)])
    names = [options.archetype] if options.archetype else list(files)
    return [RewardsTask(name, 1, {}, 0, 0, data=str(files[name])) for name in names]


def _text(pairs: list[tuple[RewardsTask, RewardsResult]]) -> str:
    lines: list[tuple[str, ...]] = [TITLES]
    notes = []
    for task, found in pairs:
        lines.append(_line(task.archetype, "ticks", found.ticks, f"{100 * found.zero_share:.1f} %"))
        if found.episodes is not None:
            lines.append(_line("", "fights", found.episodes, ""))
        terms = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.terms.items())
        notes.append(f"{task.archetype}: {found.played_by}" + (f"; {terms} of the absolute reward" if terms else ""))
        if found.bad_states:
            notes.append(f"{task.archetype}: {found.bad_states} states hold NaN or infinite numbers")
    return "\n".join([columns(lines), *notes, "rewards are points / 100, as a network is given them"])


def _line(name: str, what: str, of: Distribution, zero: str) -> tuple[str, ...]:
    quantiles = (f"{of.quantiles[percent]:.3f}" for percent in SHOWN)
    return (name, what, f"{of.count:,}", f"{of.mean:.3f}", f"{of.sd:.3f}", *quantiles, zero, str(of.not_finite))


def _silent(text: str) -> None:
    """It takes a second."""
