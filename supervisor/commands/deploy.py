"""`incumbent deploy`: what was trained and proven is what production serves; says per target what it took.

A version is in production as soon as it is the incumbent: `active.json` names it, and a server takes it from there.
What may be left to do is to promote a winner that waits for it, and to tell a server that missed the change.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands.ask import ask_change
from supervisor.commands.chosen import active_models
from supervisor.commands.identity import remembering
from supervisor.commands.serve import token_of
from supervisor.config.load import load_settings
from supervisor.contract import Json, Reason, Version
from supervisor.errors import UsageError
from supervisor.journal.identity import RunIdentity, load_identity, lock_is_held
from supervisor.journal.log_scan import records_with
from supervisor.journal.requests import Action
from supervisor.record import Record
from supervisor.registry.active import ActiveFile
from supervisor.registry.client import NoAnswerError, ServerClient
from supervisor.registry.delivery import behind


@dataclass(frozen=True)
class DeployOptions:
    """What the command line says; empty lists mean all."""

    run_dir: Path
    config: Path | None
    archetypes: Sequence[str]
    model_types: Sequence[str]


def deploy(options: DeployOptions) -> int:
    """0 where every chosen target is in production, or will be when a server starts; 1 where one is refused."""
    identity = load_identity(options.run_dir) if options.run_dir.is_dir() else None
    if identity is None:
        raise UsageError(f"{options.run_dir} holds no run; incumbent train makes one, --run-dir names another folder")
    chosen = active_models(options.run_dir, options.archetypes, options.model_types)
    code = _promote_what_waits(options, chosen)
    if lock_is_held(options.run_dir):
        typer.echo("a supervisor runs: it tells the server of every change itself")
    active = ActiveFile.read(options.run_dir) or ActiveFile()
    present = {key: entry.version for key, entry in active.targets.items() if key in chosen}
    client = _client(options, identity)
    try:
        models = _models(client, identity)
    except NoAnswerError as error:
        for key, version in present.items():
            typer.echo(f"{key}: {version} is active")
        typer.echo(f"nothing is served: {error}; incumbent serve --run-dir {options.run_dir} serves all of these")
        return code
    refused = [key for key, version in present.items() if not _served(client, key, version, behind(active, models))]
    return 1 if refused else code


def _promote_what_waits(options: DeployOptions, chosen: Mapping[str, Version]) -> int:
    """Winners that `promotion.mode: manual` left for the operator, the newest of each target."""
    code = 0
    for key, record in awaiting(options.run_dir, chosen).items():
        assert record.version is not None
        typer.echo(f"{key}: {record.version} is proven and waits; it is promoted")
        code = max(code, ask_change(options.run_dir, options.config, Action.PROMOTE, key, record.version))
    return code


def awaiting(run_dir: Path, chosen: Mapping[str, Version]) -> dict[str, Record]:
    """The newest line of each target that waits for the operator and is younger than the incumbent."""
    found: dict[str, Record] = {}
    for record in records_with(run_dir, f'"{Reason.AWAITING_OPERATOR.value}"'.encode()):
        present = chosen.get(record.target)
        waits = record.reason is Reason.AWAITING_OPERATOR and record.version is not None
        if waits and present is not None and record.iteration > present.iteration:
            found[record.target] = record
    return found


def _client(options: DeployOptions, identity: RunIdentity) -> ServerClient:
    """The server that the run's last start told."""
    settings = remembering(identity, load_settings(options.config, os.environ, {})).settings
    return ServerClient(*settings.serving.administration, token_of(settings))


def _models(client: ServerClient, identity: RunIdentity) -> Mapping[str, Json]:
    if client.get("/health").body.get("folder_id") != identity.folder_id:
        raise NoAnswerError(f"{client.host}:{client.port} answers for another run folder")
    return client.get("/models").body


def _served(client: ServerClient, key: str, version: str, stale: Mapping[str, str]) -> bool:
    if key not in stale:
        typer.echo(f"{key}: {version} is served already")
        return True
    answer = client.reload(key)
    if answer.status == 200:
        typer.echo(f"{key}: the server took up {answer.body.get('version', version)}")
        return True
    typer.echo(f"{key}: the server refuses {version}: {answer.error}; it goes on with what it had", err=True)
    return False
