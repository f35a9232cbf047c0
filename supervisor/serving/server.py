"""`incumbent serve`: one process, one event loop, one listening address, or two."""

from __future__ import annotations

import asyncio
import datetime
import gc
import math
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

import onnxruntime
import uvicorn

from supervisor.contract import Interface
from supervisor.errors import DamagedStateError, TryAgainError
from supervisor.execution.serving_processes import said_to_serve
from supervisor.experience.intake.intake import Intake
from supervisor.experience.intake.options import IntakeOptions
from supervisor.journal.identity import RunIdentity, load_identity
from supervisor.notify import Notifier
from supervisor.serving.app import Service, build_app
from supervisor.serving.batching import Batcher
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.connection import KEEP_ALIVE_S, Connection
from supervisor.serving.desk import Desk
from supervisor.serving.doors import Doors, opened
from supervisor.serving.engine import Engine
from supervisor.serving.listening import connections_that_fit
from supervisor.serving.metrics import ServerMetrics
from supervisor.serving.options import ServerOptions, WatchOptions
from supervisor.serving.provider import room_for
from supervisor.serving.room import make_room
from supervisor.serving.shadows import Shadows
from supervisor.serving.slots import Slots
from supervisor.serving.watch import Watch
from supervisor.serving.watchman import Watchman

TICKS_PER_TURN = 10  # uvicorn's ticks are 0.1 s apart


class DrainingServer(uvicorn.Server):
    """Leaves with exit code 0 when asked to stop; uvicorn would raise the signal again at its end.

    The service manager hears from the event loop itself: one that hangs sends no beat.
    """

    def __init__(
        self, config: uvicorn.Config, notifier: Notifier, status: Callable[[], str], leaving: Callable[[], None]
    ) -> None:
        """`leaving` is called when no more requests are taken."""
        super().__init__(config)
        self._leaving = leaving
        self._notifier = notifier
        self._status = status

    async def on_tick(self, counter: int) -> bool:
        now_s = asyncio.get_running_loop().time()
        connections = [own for own in self.server_state.connections if isinstance(own, Connection)]
        for connection in connections:
            connection.look(now_s)
        make_room(connections)
        if counter % TICKS_PER_TURN == 0:
            self._notifier.turn(self._status())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._notifier.stopping("answering what is in flight")
        self._leaving()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def run_server(
    run_dir: Path,
    options: ServerOptions,
    announce: Callable[[str], None],
    notifier: Notifier | None = None,
    watched: WatchOptions | None = None,
    taking: IntakeOptions | None = None,
) -> None:
    """Serve the folder's active models until SIGTERM or SIGINT, then answer what is in flight and return.

    Raises PortTakenError, UsageError, ConfigurationError or TryAgainError before anything is served.
    """
    notifier = notifier or Notifier()
    onnxruntime.set_default_logger_severity(4)
    onnxruntime.disable_telemetry_events()
    options = replace(options, max_connections=connections_that_fit(options.max_connections))
    with opened(options) as doors, said_to_serve(run_dir):
        notifier.starting(f"loading the models of {run_dir}")
        service = _wired(run_dir, options, watched or WatchOptions(), taking or IntakeOptions(), doors, announce)
        server = DrainingServer(_configured(service), notifier, lambda: _status(run_dir, service), service.intake.hurry)
        try:
            server.run(sockets=doors.listeners)
        except SystemExit as error:  # uvicorn's word for a start that failed; its code means something else to us
            raise TryAgainError("the server could not start; what is printed above says why") from error
        finally:
            service.desk.close()
            service.shadows.close()
    announce("server stopped")


def _wired(
    run_dir: Path,
    options: ServerOptions,
    watched: WatchOptions,
    taking: IntakeOptions,
    doors: Doors,
    announce: Callable[[str], None],
) -> Service:
    room = room_for(options.provider, options.vram_fraction, announce)
    watch = Watch(run_dir, watched, announce, _now_text)
    engine = Engine(Catalogue(run_dir), options, watch, announce, _now_text, room)
    batcher = Batcher(options.max_in_flight, options.max_rows)
    desk = Desk(engine.slots, batcher, options)
    intake = Intake(taking, run_dir, partial(_loaded, engine.slots), announce)

    def ready() -> None:
        # What is there now stays. Looking at it again and again would stop the event loop for 15 ms each time.
        gc.collect()
        gc.freeze()
        announce(_status(run_dir, service))
        if doors.admin is not None:
            announce(f"administration on {doors.admin.url} alone")

    service = Service(
        engine=engine,
        desk=desk,
        access=doors,
        options=options,
        identity=lambda: _identity(run_dir),
        ready=ready,
        measured=ServerMetrics(engine.slots, batcher, desk, lambda: doors.connections, intake).text,
        watch=watch,
        watchman=Watchman(engine, watch, announce),
        shadows=Shadows(engine, announce, _now_text),
        intake=intake,
    )
    return service


def _configured(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(service),
        loop="uvloop",
        http=partial(Connection, service.desk, service.options, service.access),  # type: ignore[arg-type] # as a class
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(service.options.drain_s),
    )


def _loaded(slots: Slots) -> dict[str, Interface]:
    return {slot.target: slot.live.session.interface for slot in slots if slot.live is not None}


def _status(run_dir: Path, service: Service) -> str:
    loaded = len(service.engine.models())
    return f"serving {loaded} model{'s' * (loaded != 1)} of {run_dir} on {service.access.first.url}"


def _identity(run_dir: Path) -> RunIdentity | None:
    try:
        return load_identity(run_dir)
    except (DamagedStateError, OSError):
        return None


def _now_text() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
