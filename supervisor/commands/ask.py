"""Commands for a running supervisor: dropped as requests, or carried out here when none runs."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from supervisor.commands.export import find_version
from supervisor.config.marks import scalar
from supervisor.config.mistakes import suggest
from supervisor.contract import Scalar, Status
from supervisor.errors import ConfigurationError, UsageError
from supervisor.journal import requests
from supervisor.journal.identity import load_identity, lock_is_held
from supervisor.journal.log_scan import records_with
from supervisor.journal.recovery import recover_reading
from supervisor.journal.requests import Action, Request
from supervisor.registry.store import ModelStore
from supervisor.search.setup import load_setup
from supervisor.search.target import TargetDefinition
from supervisor.signals import EXIT_INTERRUPTED
from supervisor.state import TargetState

DONE = {
    Action.PAUSE: "paused: the trial in flight saves itself; incumbent resume goes on",
    Action.RESUME: "goes on",
    Action.STOP: "stopping: the trial in flight saves itself, then the supervisor leaves",
}


def ask(run_dir: Path, action: Action) -> int:
    """pause, resume, stop."""
    _require(run_dir)
    running = lock_is_held(run_dir)
    if action is Action.STOP and not running:
        typer.echo(f"no supervisor runs in {run_dir}")
        return 0
    _drop(run_dir, action)
    typer.echo(DONE[action] if running else f"noted for the next start in {run_dir}: {action.value}")
    return 0


def ask_enqueue(run_dir: Path, config: Path | None, target: str, values: Sequence[str]) -> int:
    """Range-checked here, so that a mistake is answered at once; judged like any other candidate later."""
    _require(run_dir)
    definition = _definition(run_dir, config, target)
    params, problems = _parse(values)
    for name in params.keys() - set(definition.space.names):
        problems.append(f"{name}: no such parameter of {target}; {suggest(name, definition.space.names)}")
    known = {name: value for name, value in params.items() if name in definition.space}
    problems += definition.problems({**definition.defaults(), **known})
    if problems:
        raise UsageError("\n".join(problems))
    _drop(run_dir, Action.ENQUEUE, target, params=params)
    when = "next" if lock_is_held(run_dir) else "at the next start"
    typer.echo(f"{target}: {', '.join(f'{name}={value}' for name, value in params.items())} is tried {when}")
    return 0


def ask_change(run_dir: Path, config: Path | None, action: Action, target: str, version: str | None) -> int:
    """promote and rollback: an iteration of its own behind the trial in flight; done here where no supervisor runs."""
    _require(run_dir)
    _definition(run_dir, config, target)
    known = _target_state(run_dir, target)
    present = known.incumbent.name if known.incumbent else None
    if version is not None:
        find_version(run_dir, target, version)
        if version == present:
            typer.echo(f"{version} is the incumbent of {target} already")
            return 0
        if version in known.rolled_back:
            raise UsageError(f"{version} of {target} was rolled back and never comes back")
    elif not known.ways_back:
        raise UsageError(f"{target} has no earlier version in {run_dir} to go back to")
    _refuse_without_files(run_dir, target, known, version or known.ways_back[0])
    asked = _waiting_alike(run_dir, action, target, version, present)
    asked = asked or _drop(run_dir, action, target, version, seen=present)
    if lock_is_held(run_dir):
        typer.echo(f"asked the running supervisor: {action.value} {target} {version or ''}".rstrip())
        return 0
    from supervisor.commands.run import RunOptions, run_supervisor  # a second of imports that asking does not need

    code = run_supervisor(RunOptions(run_dir, config, _decided(run_dir), requests_only=True))
    waiting = requests.waiting(run_dir)[0]
    if any(request.id == asked.id for request in waiting):
        if any(request.action is Action.PAUSE for request in waiting):
            typer.echo("it waits: the run is paused; incumbent resume, then start the run")
            return code
        typer.echo("interrupted before it was done: the next start does it, or this command once more")
        return code or EXIT_INTERRUPTED
    done = next((line for line in records_with(run_dir, asked.id.encode()) if asked.id in line.requests), None)
    return UsageError.exit_code if done is not None and done.status is Status.INVALID else code


def _refuse_without_files(run_dir: Path, target: str, known: TargetState, name: str) -> None:
    store = ModelStore(run_dir)
    if name in known.versions and not store.has(known.versions[name]):
        others = [version.name for version in known.versions.values() if store.has(version)]
        raise UsageError(
            f"the model file of {name} of {target} is gone: run.retention_versions keeps those of the last versions"
            f" alone; still there: {', '.join(sorted(others)) or 'none'}"
        )


def _target_state(run_dir: Path, target: str) -> TargetState:
    identity = load_identity(run_dir)
    if identity is None:
        return TargetState()
    state, _ = recover_reading(run_dir, identity.run_id, recent=0)
    return state.target(target)


def _waiting_alike(run_dir: Path, action: Action, target: str, version: str | None, seen: str | None) -> Request | None:
    """What an interrupted command left: asked for twice, the second one would be refused."""
    wanted = (action, target, version, seen)
    waiting = requests.waiting(run_dir)[0]
    return next((item for item in waiting if (item.action, item.target, item.version, item.seen) == wanted), None)


def _drop(
    run_dir: Path,
    action: Action,
    target: str | None = None,
    version: str | None = None,
    params: Mapping[str, Scalar] | None = None,
    seen: str | None = None,
) -> Request:
    sequence = requests.next_sequence(run_dir, time.time_ns())
    request = Request(uuid.uuid4().hex, sequence, action, target, version, params or {}, seen)
    requests.drop(run_dir, request)
    return request


def _decided(run_dir: Path) -> dict[str, object]:
    """Everything that decides results, as the run was started last: a command changes none of it."""
    identity = load_identity(run_dir)
    decides = identity.decides if identity else {}
    return {name: value for name, value in decides.items() if not name.startswith("targets.") and value is not None}


def _definition(run_dir: Path, config: Path | None, target: str) -> TargetDefinition:
    """What is searched under this key. A target of the user's own is known through the run's configuration alone."""
    try:
        definitions = load_setup(config, os.environ, _decided(run_dir)).targets
    except ConfigurationError as error:
        if config is not None:
            raise
        raise ConfigurationError([*error.problems, f"give the --config that {run_dir} was started with"]) from error
    if target not in definitions:
        raise UsageError(f"{target} is not searched in {run_dir}; its targets: {', '.join(definitions)}")
    return definitions[target]


def _parse(values: Sequence[str]) -> tuple[dict[str, Scalar], list[str]]:
    params: dict[str, Scalar] = {}
    problems: list[str] = []
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(f"{text!r}: give name=value")
            continue
        parsed = scalar(value)
        if name in params:
            problems.append(f"{name}: given twice")
        elif isinstance(parsed, Scalar):
            params[name] = parsed
        else:
            problems.append(f"{name}: {value!r} is no value of a parameter")
    return params, problems


def _require(run_dir: Path) -> None:
    if not (run_dir / "run.json").exists():
        raise UsageError(f"{run_dir} holds no run; start one (tools/start_training.sh) or give its --run-dir")
