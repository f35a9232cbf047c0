"""`incumbent serve`: the HTTP server alone, or beside a run."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from supervisor.clock import Clock
from supervisor.config.settings import Settings
from supervisor.config.token import clean_token
from supervisor.console import Console
from supervisor.errors import ConfigurationError, UsageError
from supervisor.experience.intake.options import IntakeOptions
from supervisor.journal.events import Events
from supervisor.journal.identity import load_identity
from supervisor.notify import Notifier
from supervisor.search.definitions import BUILT_IN, pairs
from supervisor.search.setup import load_setup
from supervisor.serving.errors import PortTakenError
from supervisor.serving.options import ServerOptions, WatchOptions
from supervisor.serving.probe import probe_server

FIRST_START_S = 60.0
LOOK_S = 0.2


def serve_models(run_dir: Path, config: Path | None, host: str | None, port: int | None, beside_run: bool) -> int:
    """Serve until told to stop. Beside a run a taken port is no failure: the run goes on unserved, or our server that
    is there already is used."""
    from supervisor.serving.server import run_server  # and with it onnxruntime: not for who asks for the token alone

    flags = {"serving.host": host, "serving.port": port}
    setup = load_setup(config, os.environ, {name: value for name, value in flags.items() if value is not None})
    settings = setup.settings
    if not beside_run and not run_dir.is_dir():
        raise UsageError(f"{run_dir} does not exist; give the --run-dir of a run (incumbent run creates it)")
    run_dir.mkdir(parents=True, exist_ok=True)
    console = Console(None)
    try:
        run_server(
            run_dir,
            options_of(settings),
            console.say,
            Notifier.from_environment(os.environ),
            WatchOptions(**settings.watch.model_dump()),
            intake_of(settings, setup.targets),
        )
    except PortTakenError as error:
        holder = _ours_on_the_port(run_dir, settings, patience_s=FIRST_START_S if beside_run else 0.0)
        if not beside_run:
            raise (_already(holder) if holder else error) from None
        if holder and holder.administered:
            console.say(f"A server of this run folder (pid {holder.pid}) is running already and is used")
            return 0
        events = Events(run_dir, Clock().now_text, lambda text: console.say(f"-- {text}"))
        events.write("unserved", f"{_unlike(holder, settings) if holder else error}; the run goes on unserved")
    return 0


def options_of(settings: Settings) -> ServerOptions:
    """The server's options from the settings; the token from its file where one is named."""
    serving = settings.serving
    return ServerOptions(
        host=serving.host,
        port=serving.port,
        admin_host=serving.admin_host,
        admin_port=serving.admin_port,
        token=token_of(settings),
        max_body_kb=serving.max_body_kb,
        max_rows=serving.max_rows,
        max_in_flight=serving.max_in_flight,
        max_connections=serving.max_connections,
        body_timeout_s=serving.body_timeout_s,
        deadline_s=serving.deadline_s,
        provider=serving.provider,
        vram_fraction=1.0 - settings.budgets.vram_fraction,
    )


def intake_of(settings: Settings, targets: Collection[str]) -> IntakeOptions:
    """`targets` are those of the run. Beside them every pair of an archetype and a model type is known."""
    own, spaces = settings.experience, settings.run.search_spaces
    folders = [BUILT_IN, *([spaces] if spaces else [])]
    return IntakeOptions(
        accept=own.accept,
        url=own.url.get_secret_value() if own.url else None,
        max_body_kb=own.max_body_kb,
        max_waiting_rows=own.max_waiting_rows,
        commit_ms=own.commit_ms,
        targets=sorted({*targets, *pairs(folders)}),
    )


def token_of(settings: Settings) -> str | None:
    """The bearer token of the administrative routes, if one is set. Raises ConfigurationError naming its file."""
    serving = settings.serving
    if serving.token is not None:
        return serving.token.get_secret_value()
    path = serving.token_file
    if path is None:
        return None
    try:
        token = clean_token(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise _wrong_file(path, f"{what}; name a readable text file that holds the token alone") from error
    except ValueError as error:
        raise _wrong_file(path, str(error)) from None
    if not token:
        raise _wrong_file(path, "empty; write the token into it")
    return token


def _wrong_file(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError([f"{path}: serving.token_file: {what}"])


@dataclass(frozen=True)
class Holder:
    """A server of this folder. `administered`: the run's word of a change reaches it, by today's settings."""

    pid: int
    port: int
    administered: bool


def _ours_on_the_port(run_dir: Path, settings: Settings, patience_s: float) -> Holder | None:
    """The server of this folder that has one of the ports, if there is one.

    Which folder a server serves shows once the folder's first start has written who it is: a run that begins beside us
    does so within `patience_s`.
    """
    deadline_s = time.monotonic() + patience_s
    while (ours := load_identity(run_dir)) is None and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    serving = settings.serving
    for host, port in (serving.administration, (serving.host, serving.port)):
        health = probe_server(host, port)
        if health is not None and ours is not None and health.folder_id == ours.folder_id:
            return Holder(health.pid, port, administered=(host, port) == serving.administration)
    return None


def _already(holder: Holder) -> PortTakenError:
    return PortTakenError(
        f"a server of this run folder (pid {holder.pid}) listens on port {holder.port} already; use that one,"
        " or stop it first"
    )


def _unlike(holder: Holder, settings: Settings) -> str:
    """It serves what it has, and never hears of what the run promotes."""
    host, port = settings.serving.administration
    return (
        f"a server of this run folder (pid {holder.pid}) has port {holder.port}, and its administration is not at"
        f" {host}:{port}, as serving.admin_port says: stop it, and the next start serves"
    )
