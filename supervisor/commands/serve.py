"""`incumbent serve`: the HTTP server alone, or beside a run."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.config.settings import Settings
from supervisor.console import Console
from supervisor.errors import ConfigurationError, UsageError
from supervisor.journal.events import Events
from supervisor.journal.identity import load_identity
from supervisor.parts import Clock
from supervisor.search.setup import load_setup
from supervisor.serving.errors import PortTakenError
from supervisor.serving.options import ServerOptions
from supervisor.serving.probe import probe_server
from supervisor.serving.server import run_server


def serve_models(run_dir: Path, config: Path | None, host: str | None, port: int | None, beside_run: bool) -> int:
    """Serve until told to stop. Beside a run a taken port is no failure: the run goes on unserved, or our server that
    is there already is used."""
    flags = {"serving.host": host, "serving.port": port}
    settings = load_setup(
        config, os.environ, {name: value for name, value in flags.items() if value is not None}
    ).settings
    if not beside_run and not run_dir.is_dir():
        raise UsageError(f"{run_dir} does not exist; give the --run-dir of a run (incumbent run creates it)")
    run_dir.mkdir(parents=True, exist_ok=True)
    console = Console(None)
    try:
        run_server(run_dir, options_of(settings), console.say)
    except PortTakenError as error:
        if not beside_run:
            raise
        _explain(run_dir, settings, error, console)
    return 0


def options_of(settings: Settings) -> ServerOptions:
    """The server's options from the settings; the token from its file where one is named."""
    return ServerOptions(host=settings.serving.host, port=settings.serving.port, token=token_of(settings))


def token_of(settings: Settings) -> str | None:
    """The bearer token of the administrative routes, if one is set. Raises ConfigurationError naming its file."""
    serving = settings.serving
    if serving.token is not None:
        return serving.token.get_secret_value()
    path = serving.token_file
    if path is None:
        return None
    try:
        return path.read_bytes().decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise ConfigurationError(
            [f"{path}: serving.token_file: {what}; name a readable text file that holds the token alone"]
        ) from error


def _explain(run_dir: Path, settings: Settings, error: PortTakenError, console: Console) -> None:
    health = probe_server(settings.serving.host, settings.serving.port)
    ours = load_identity(run_dir)
    if health is not None and ours is not None and health.folder_id == ours.folder_id:
        console.say(f"A server of this run folder (pid {health.pid}) is running already and is used")
        return
    events = Events(run_dir, Clock().now_text, lambda text: console.say(f"-- {text}"))
    events.write("unserved", f"{error} The run goes on unserved.")
