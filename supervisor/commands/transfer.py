"""`incumbent transfer`: does a training get on better from another archetype's weights than from scratch?

Two trainings of the same budget and seed beside each other, both judged by the same fresh games.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands import jobs
from supervisor.commands.chosen import active_models
from supervisor.commands.definitions import definitions, one_target, seed_of, steps_of
from supervisor.commands.scoretable import columns
from supervisor.commands.scoring import FOLDER
from supervisor.contract import Json, Version
from supervisor.errors import UsageError
from supervisor.journal import durable
from supervisor.promotion.difference import paired_interval
from supervisor.registry.store import FOLDER_NAME
from supervisor.seeds import derive_seed
from supervisor.tasks import CourseResult, CourseTask, Trained

PROBE_GAMES = 200


@dataclass(frozen=True)
class TransferOptions:
    """What the command line says."""

    run_dir: Path
    config: Path | None
    source: str
    target: str
    model_type: str
    epochs: int | None
    games: int
    seed: int | None
    as_json: bool


@dataclass(frozen=True)
class Comparison:
    """Scores in [0, 1]; the difference is warm minus cold, paired by game, with its 95 % interval."""

    warm: CourseResult
    cold: CourseResult
    difference: float
    low: float
    high: float
    caught_up: float | None  # share of the budget after which warm is where cold ends; None if it never is

    @property
    def verdict(self) -> str:
        if self.low > 0:
            return "the warm start is better beyond doubt"
        return "the cold start is better beyond doubt" if self.high < 0 else "no difference beyond doubt"


def transfer(options: TransferOptions) -> int:
    """Train, compare, print, write a report. 0 whatever it says."""
    if options.source == options.target:
        raise UsageError("source and target are the same archetype; name two")
    source = _source(options)
    warm, cold = _tasks(options, source)
    say = _silent if options.as_json else typer.echo
    found = compared(*jobs.run_together([jobs.Job("course", task, CourseResult) for task in (warm, cold)], say))
    report = _plain(options, source, found)
    path = options.run_dir / FOLDER / f"transfer.{options.source}.{options.target}.{options.model_type}.json"
    durable.make_folder(path.parent)
    durable.write_atomic(path, json.dumps(report, indent=2).encode() + b"\n")
    typer.echo(json.dumps(report, indent=2) if options.as_json else _text(found))
    say(f"report: {path}")
    return 0


def compared(warm: CourseResult, cold: CourseResult) -> Comparison:
    """The paired difference, and how much sooner the warm one is where the cold one ends."""
    difference, low, high = paired_interval(warm.scores, cold.scores)
    end = cold.curve[-1][1]
    reached = next((steps for steps, score in warm.curve if score >= end), None)
    return Comparison(warm, cold, difference, low, high, None if reached is None else reached / warm.steps)


def _source(options: TransferOptions) -> Version:
    found = active_models(options.run_dir, [options.source], [options.model_type])
    version = found[f"{options.source}/{options.model_type}"]
    if version.weights_sha256 is None:
        raise UsageError(f"{version.name} of {options.source}/{options.model_type} has no weights to start from")
    return version


def _tasks(options: TransferOptions, source: Version) -> tuple[CourseTask, CourseTask]:
    target = one_target(definitions(options.run_dir, options.config), options.target, options.model_type)
    seed = seed_of(options.run_dir, options.seed)
    pair = f"{options.source} {target.key}"

    def task(name: str, start: str | None) -> CourseTask:
        training = Trained(
            target=target.key,
            level=target.level,
            params=target.defaults(),
            steps=steps_of(target, options.epochs),
            seed=derive_seed(seed, "transfer", pair, 0),
            models=str(options.run_dir / FOLDER_NAME),
            start_sha256=start,
        )
        return CourseTask(training, name, options.games, derive_seed(seed, "transfer games", pair, 0), PROBE_GAMES)

    return task("warm", source.weights_sha256), task("cold", None)


def _text(found: Comparison) -> str:
    titles = ("", "before", "25 %", "50 %", "75 %", "100 %", f"of {len(found.warm.scores)} games", "seconds")
    lines = columns([titles, _line("warm start", found.warm), _line("cold start", found.cold)])
    sooner = (
        "the warm start does not reach the cold one's end"
        if found.caught_up is None
        else f"the warm start is where the cold one ends after {100 * found.caught_up:.0f} % of the steps"
    )
    gain = f"{100 * found.difference:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    fit = "" if found.warm.taken_over in (None, 1.0) else "\nnot all of the source's tensors fitted"
    return f"{lines}\n{gain}: {found.verdict}; {sooner}{fit}"


def _line(name: str, course: CourseResult) -> Sequence[str]:
    curve = [f"{100 * score:.1f}" for _, score in course.curve]
    return (name, _percent(course.before), *curve, _percent(course.scores), f"{course.seconds:.1f}")


def _percent(scores: Sequence[float]) -> str:
    return f"{100 * sum(scores) / len(scores):.1f}" if scores else "-"


def _plain(options: TransferOptions, source: Version, found: Comparison) -> dict[str, Json]:
    def side(course: CourseResult) -> dict[str, Json]:
        return {
            "before": sum(course.before) / len(course.before) if course.before else None,
            "score": sum(course.scores) / len(course.scores),
            "curve": [[steps, score] for steps, score in course.curve],
            "steps": course.steps,
            "seconds": course.seconds,
            "taken_over": course.taken_over,
        }

    return {
        "source": f"{options.source}/{options.model_type}",
        "source_version": source.name,
        "target": f"{options.target}/{options.model_type}",
        "games": len(found.warm.scores),
        "warm": side(found.warm),
        "cold": side(found.cold),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "caught_up": found.caught_up,
        "verdict": found.verdict,
    }


def _silent(text: str) -> None:
    """Into a pipe goes the JSON alone."""
