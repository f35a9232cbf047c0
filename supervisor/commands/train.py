"""`incumbent train`: every chosen target's default configuration trained, exported, verified and registered, and a
table of what came of it.

Training is the run's own loop: a target's first iteration is its default configuration. So the command goes on where
it was after any interruption, and what it made is served, searched and rolled back like any other version.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from supervisor.commands.bars import bar, trained
from supervisor.commands.definitions import steps_of
from supervisor.commands.run import RunOptions, run_supervisor
from supervisor.commands.scoretable import Row, Table, as_markdown, as_text, summary
from supervisor.commands.scoring import FOLDER, Question, examine, task_of
from supervisor.config.fields import is_device
from supervisor.config.mistakes import suggest
from supervisor.contract import Scalar
from supervisor.errors import UsageError
from supervisor.execution.device import problem_of
from supervisor.execution.gpu import Gpu
from supervisor.execution.machine import machine_of
from supervisor.journal import durable
from supervisor.journal.identity import load_identity, lock_is_held
from supervisor.journal.log_scan import records_with
from supervisor.journal.recovery import recover_reading
from supervisor.record import Record
from supervisor.search.setup import Setup, load_setup
from supervisor.search.target import TargetDefinition
from supervisor.signals import EXIT_INTERRUPTED
from supervisor.state import State

LEARNING_RATE = ".learning_rate"
BATCH_SIZE = ".batch_size"
REPORT_NAME = "train"


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says; empty lists mean all."""

    run_dir: Path
    config: Path | None
    archetypes: Sequence[str]
    model_types: Sequence[str]
    flags: Mapping[str, object]  # settings by dotted name
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    games: int = 1000
    workers: int = 1
    device: str | None = None  # instead of the configuration's


def train_models(options: TrainOptions) -> int:
    """Train what has no version yet, examine everything chosen, print the table; the exit code."""
    if lock_is_held(options.run_dir):
        raise UsageError(f"a supervisor runs in {options.run_dir}: stop it first, or give another --run-dir")
    patterns = _chosen(options)
    setup = _adjusted(load_setup(options.config, os.environ, {**options.flags, "run.targets": patterns}), options)
    targets = list(setup.targets)
    state = _state(options.run_dir)
    missing = [key for key in targets if state.target(key).iterations == 0]
    if missing:
        typer.echo(f"{len(missing)} of {len(targets)} targets are trained, {setup.settings.run.scale} scale")
        steps = {key: setup.targets[key].steps for key in missing}
        with bar(lambda: trained(options.run_dir, steps)):
            code = _train(options, patterns if _alone(state, targets) else missing, state.iteration + len(missing))
        state = _state(options.run_dir)
        left = [key for key in missing if state.target(key).iterations == 0]
        if code != 0 or left:
            typer.echo(f"{len(left)} of {len(targets)} targets are left; the same command goes on with them")
            return code or EXIT_INTERRUPTED
    return _report(options, setup, state)


def _chosen(options: TrainOptions) -> list[str]:
    """Target keys as globs; an archetype or a model type that does not exist is refused with what there is."""
    every = load_setup(options.config, os.environ, {**options.flags, "run.targets": ["*"]}).targets
    pairs = [key.split("/", 1) for key, target in every.items() if target.kind == "arena"]
    problems = []
    for given, known in ((options.archetypes, {a for a, _ in pairs}), (options.model_types, {m for _, m in pairs})):
        problems += [f"{name!r}: no such name; {suggest(name, sorted(known))}" for name in given if name not in known]
    if problems:
        raise UsageError("\n".join(problems))
    wanted = [
        f"{archetype}/{model_type}"
        for archetype, model_type in pairs
        if (not options.archetypes or archetype in options.archetypes)
        and (not options.model_types or model_type in options.model_types)
    ]
    return sorted(wanted)


def _adjusted(setup: Setup, options: TrainOptions) -> Setup:
    """The targets with the flags' epochs, batch size, learning rate and device."""
    problems: list[str] = []
    targets = {key: _changed(target, options, problems) for key, target in setup.targets.items()}
    if options.device is not None:
        targets = {key: replace(target, device=options.device) for key, target in targets.items()}
        problems += _no_such_device(options.device, targets.values())
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return replace(setup, targets=targets)


def _no_such_device(device: str, targets: Iterable[TargetDefinition]) -> list[str]:
    if not is_device(device):
        return [f"--device {device}: no such device; give auto, cpu or cuda:N"]
    machine = machine_of(Gpu.find_all(lambda said: None))
    found = [problem_of(device, machine, target.kind) for target in targets]
    return [f"--device {device}: {problem}" for problem in found if problem is not None]


def _changed(target: TargetDefinition, options: TrainOptions, problems: list[str]) -> TargetDefinition:
    given: dict[str, Scalar] = {}
    for value, ending in ((options.learning_rate, LEARNING_RATE), (options.batch_size, BATCH_SIZE)):
        if value is not None:
            names = [name for name in (*target.space.names, *target.fixed) if name.endswith(ending)]
            given.update(dict.fromkeys(names, value))
    problems += [
        f"{target.key}: {name}: {problem}"
        for name, value in given.items()
        if (problem := target.problem(name, value)) is not None
    ]
    searched = {name: value for name, value in given.items() if name in target.space}
    fixed = {name: value for name, value in given.items() if name not in target.space}
    space = target.space if problems else target.space.with_defaults(searched)
    return replace(target, space=space, fixed={**target.fixed, **fixed}, steps=steps_of(target, options.epochs))


def _alone(state: State, targets: Sequence[str]) -> bool:
    """Nothing but this command worked in the folder: each target in it is one of these and had one iteration."""
    return all(key in targets and known.iterations <= 1 for key, known in state.targets.items())


def _train(options: TrainOptions, patterns: Sequence[str], until: int) -> int:
    flags = {**options.flags, "run.targets": list(patterns), "run.max_iterations": until}
    run = RunOptions(options.run_dir, options.config, flags, adjust=lambda setup: _adjusted(setup, options))
    return run_supervisor(run)


def _state(run_dir: Path) -> State:
    identity = load_identity(run_dir) if run_dir.is_dir() else None
    return State() if identity is None else recover_reading(run_dir, identity.run_id, recent=0)[0]


def _report(options: TrainOptions, setup: Setup, state: State) -> int:
    """Examine, write `reports/train.md`, print. 0 where every target has a version that learnt something."""
    known = {key: state.target(key).incumbent for key in setup.targets}
    tasks = [
        task_of(Question(key, version, version.level), setup.settings.run.seed, options.games)
        for key, version in known.items()
        if version is not None
    ]
    cards = examine(options.run_dir, tasks, options.workers, typer.echo)
    rows = [
        Row(key, cards.get(key), _line_of(options.run_dir, version.name) if version else None)
        for key, version in known.items()
    ]
    table = Table(tuple(rows), options.games, setup.settings.run.scale)
    path = options.run_dir / FOLDER / f"{REPORT_NAME}.md"
    durable.make_folder(path.parent)
    durable.write_atomic(path, as_markdown(table).encode())
    typer.echo(as_text(table))
    typer.echo(summary(table))
    typer.echo(f"as Markdown: {path}; to serve them: incumbent serve --run-dir {options.run_dir}")
    return 0 if all(row.card is not None and row.card.learnt for row in rows) else 1


def _line_of(run_dir: Path, version: str) -> Record | None:
    """The log line that made a version."""
    lines = records_with(run_dir, f'"version":"{version}"'.encode())
    return next((line for line in lines if line.version == version), None)
