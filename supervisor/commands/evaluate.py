"""`incumbent evaluate`: versions examined over fresh games and held against what a release should reach (C15)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands.export import find_version
from supervisor.commands.scoretable import columns
from supervisor.commands.scoring import FOLDER, Question, examine, task_of
from supervisor.config.settings import GUARD_PRESETS
from supervisor.contract import Json, ScoreCard, as_json
from supervisor.errors import UsageError
from supervisor.journal import durable
from supervisor.journal.identity import load_identity
from supervisor.journal.recovery import known_versions
from supervisor.promotion import guards
from supervisor.registry.active import ActiveFile

RELEASE = GUARD_PRESETS["release"]
REPORT_NAME = "evaluation"
TITLES = ("target", "version", "win rate", "at level 1 (95 %)", "reward", "ms", "entropy", "explained", "release")
NOT_APPLICABLE = "-"


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line says; None means all."""

    run_dir: Path
    archetype: str | None
    model_type: str | None
    version: str | None
    games: int
    workers: int
    save_report: bool
    as_json: bool


@dataclass(frozen=True)
class Check:
    """One release target: what was measured, what it should reach, None where the quantity does not exist."""

    value: float | None
    bound: float
    passed: bool | None


def evaluate_models(options: EvaluateOptions) -> int:
    """Print a line per model; 0 whatever it says."""
    identity = load_identity(options.run_dir) if options.run_dir.is_dir() else None
    if identity is None:
        raise UsageError(f"{options.run_dir} holds no run; incumbent train makes one")
    questions = _questions(options)
    tasks = [task_of(question, identity.seed, options.games) for question in questions]
    say = _silent if options.as_json else typer.echo
    cards = examine(options.run_dir, tasks, options.workers, say)
    report: dict[str, Json] = {
        key: {**as_json(card), "release": {name: _plain(check) for name, check in release_checks(card).items()}}
        for key, card in cards.items()
    }
    if options.as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(columns([TITLES, *(_cells(card) for card in cards.values())]))
        typer.echo(_bounds())
    if options.save_report:
        path = options.run_dir / FOLDER / f"{REPORT_NAME}.json"
        durable.make_folder(path.parent)
        durable.write_atomic(path, json.dumps(report, indent=2).encode() + b"\n")
        say(f"report: {path}")
    return 0


def _silent(text: str) -> None:
    """Into a pipe goes the JSON alone."""


def _questions(options: EvaluateOptions) -> list[Question]:
    """The versions asked for. Raises UsageError naming what there is instead."""
    active = ActiveFile.read(options.run_dir)
    known = sorted(active.targets) if active else []
    chosen = [
        key
        for key in known
        if options.archetype in (None, key.split("/")[0]) and options.model_type in (None, key.split("/")[1])
    ]
    chosen = [key for key in chosen if _has_model(options.run_dir, key)]
    if not chosen:
        wanted = f"{options.archetype or '*'}/{options.model_type or '*'}"
        raise UsageError(f"no model of {wanted} in {options.run_dir}; there are {', '.join(known) or 'none yet'}")
    if options.version is not None and len(chosen) > 1:
        raise UsageError("--version is one target's: name its --archetype and --model-type too")
    found = [(key, find_version(options.run_dir, key, options.version)) for key in chosen]
    return [Question(key, version, version.level) for key, version in found]


def _has_model(run_dir: Path, key: str) -> bool:
    return any(version.interface is not None for version in known_versions(run_dir).get(key, {}).values())


def release_checks(card: ScoreCard) -> dict[str, Check]:
    """What requirement C15 asks of a release, with the guards' table of which quantity exists for which model type."""
    exists = guards.applicable(card.task.target.split("/")[1], has_model=True)
    measured = card.measured
    values: Mapping[str, tuple[float | None, float]] = {
        guards.WIN_RATE: (card.first_level.rate, RELEASE["min_win_rate"]),
        guards.REWARD: (measured.get(guards.REWARD), RELEASE["min_reward"]),
        guards.ENTROPY_BITS: (measured.get(guards.ENTROPY_BITS), RELEASE["min_entropy_bits"]),
        guards.EXPLAINED_VARIANCE: (
            measured.get(guards.EXPLAINED_VARIANCE),
            RELEASE["min_explained_variance"],
        ),
    }
    checks = {
        name: Check(value, bound, None if name not in exists else value is not None and value > bound)
        for name, (value, bound) in values.items()
    }
    slowest, limit = max(card.latency_ms.values()), RELEASE["max_latency_ms"]
    return {**checks, "latency_ms": Check(slowest, limit, slowest < limit)}


def _cells(card: ScoreCard) -> tuple[str, ...]:
    checks, first = release_checks(card), card.first_level
    missed = [name for name, check in checks.items() if check.passed is False]
    return (
        card.task.target,
        card.task.version,
        f"{100 * card.trained.rate:.1f}",
        f"{100 * first.rate:.1f} ({100 * first.low:.1f} to {100 * first.high:.1f})",
        *(_cell(checks[name]) for name in (guards.REWARD, "latency_ms", guards.ENTROPY_BITS)),
        _cell(checks[guards.EXPLAINED_VARIANCE]),
        f"missed: {', '.join(missed)}" if missed else "reached",
    )


def _cell(check: Check) -> str:
    return NOT_APPLICABLE if check.passed is None or check.value is None else f"{check.value:.2f}"


def _bounds() -> str:
    said = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in RELEASE.items())
    return f"a release should reach, against the traditional AI of level 1: {said}"


def _plain(check: Check) -> dict[str, Json]:
    return {"value": check.value, "bound": check.bound, "passed": check.passed}


def at_once(given: int | None) -> int:
    """How many examinations run beside each other."""
    return given or min(4, len(os.sched_getaffinity(0)))
