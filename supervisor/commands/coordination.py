"""`incumbent train-coordination`: a pack of two to five, trained and measured beside the searched targets of five."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands import jobs
from supervisor.commands.definitions import definitions, one_target, seed_of
from supervisor.commands.scoring import FOLDER
from supervisor.contract import Json
from supervisor.errors import UsageError
from supervisor.journal import durable
from supervisor.promotion.difference import paired_interval
from supervisor.seeds import derive_seed
from supervisor.tasks import CourseResult, CourseTask, Trained

MODEL_TYPE = "team_coordination"
PACKS = range(2, 6)
TURNS = 15  # of a fight that goes on to its tick limit; each member is given an order in each
PROBE_GAMES = 100


@dataclass(frozen=True)
class CoordinationOptions:
    """What the command line says. `episodes` fights are trained for, `games` others judge."""

    run_dir: Path
    config: Path | None
    archetype: str
    pack_size: int
    episodes: int
    games: int
    output: Path | None
    seed: int | None


def train_coordination(options: CoordinationOptions) -> int:
    """Train, measure against the untrained network over the same fights, write model.onnx, final.pt, report.json."""
    if options.pack_size not in PACKS:
        raise UsageError(f"--pack-size {options.pack_size}: a pack has {PACKS[0]} to {PACKS[-1]} members")
    target = one_target(definitions(options.run_dir, options.config), options.archetype, MODEL_TYPE)
    output = options.output or options.run_dir / FOLDER / f"{options.archetype}.pack_of_{options.pack_size}"
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; give a folder")
    output.mkdir(parents=True, exist_ok=True)
    seed = seed_of(options.run_dir, options.seed)
    name = f"{target.key} {options.pack_size}"
    training = Trained(
        target=target.key,
        level=target.level,
        params=target.defaults(),
        steps=options.episodes * TURNS * options.pack_size,
        seed=derive_seed(seed, "coordination", name, 0),
        pack_size=options.pack_size,
    )
    first_game = derive_seed(seed, "coordination games", name, 0)
    task = CourseTask(training, f"pack of {options.pack_size}", options.games, first_game, PROBE_GAMES, str(output))
    found = jobs.run(jobs.Job("course", task, CourseResult), typer.echo)
    report = _report(options, target.level, found)
    durable.write_atomic(output / "report.json", json.dumps(report, indent=2).encode() + b"\n")
    _tell(report, output)
    return 0


def _report(options: CoordinationOptions, level: int, found: CourseResult) -> dict[str, Json]:
    gain, low, high = paired_interval(found.scores, found.before)
    return {
        "target": f"{options.archetype}/{MODEL_TYPE}",
        "pack_size": options.pack_size,
        "episodes": options.episodes,
        "orders": found.steps,
        "level": level,
        "games": options.games,
        "untrained": sum(found.before) / len(found.before),
        "trained": sum(found.scores) / len(found.scores),
        "gain": gain,
        "gain_low": low,
        "gain_high": high,
        "curve": [[steps, score] for steps, score in found.curve],
        "seconds": found.seconds,
        "model_sha256": found.model_sha256,
    }


def _tell(report: dict[str, Json], output: Path) -> None:
    def percent(name: str, form: str = ".1f") -> str:
        value = report[name]
        assert isinstance(value, int | float)
        return format(100 * value, form)

    typer.echo(
        f"a pack of {report['pack_size']}, over {report['games']} fights at level {report['level']}:"
        f" untrained {percent('untrained')} %, trained {percent('trained')} %, gain {percent('gain', '+.1f')}"
        f" ({percent('gain_low', '+.1f')} to {percent('gain_high', '+.1f')})"
    )
    typer.echo(f"{output}: model.onnx, final.pt, report.json; a registered version comes of incumbent train")
