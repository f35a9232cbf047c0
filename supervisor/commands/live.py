"""`incumbent collect --live`: plays fights through the inference server, as a game would, for as long as it is let."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import typer

from supervisor.commands import jobs
from supervisor.commands.definitions import definitions, seed_of
from supervisor.console import percent
from supervisor.curriculum import level_now
from supervisor.errors import TryAgainError, UsageError
from supervisor.journal.recovery import known_targets
from supervisor.search.setup import load_setup
from supervisor.seeds import derive_seed
from supervisor.state import TargetState
from supervisor.tasks import LiveItem, LivePlayed, LiveResult, LiveTask


@dataclass(frozen=True)
class LiveOptions:
    """What the command line says. Host and port are the settings' unless given."""

    run_dir: Path
    config: Path | None
    targets: Sequence[str]
    host: str | None
    port: int | None
    clients: int
    fights: int
    exploration: float
    rate: float
    steps: int | None
    seconds: float | None
    seed: int | None


def play_live(options: LiveOptions) -> int:
    """0 once it was told to stop or is through; 1 where nothing could be played."""
    serving = load_setup(options.config, os.environ, {}).settings.serving
    task = LiveTask(
        items=tuple(_items(options)),
        host=options.host or serving.host,
        port=options.port or serving.port,
        clients=options.clients,
        fights=options.fights,
        exploration=options.exploration,
        rate=options.rate,
        steps=options.steps,
        seconds=options.seconds,
    )
    typer.echo(f"Playing {', '.join(item.target for item in task.items)} at {task.host}:{task.port}; Ctrl+C ends it")
    with _asked_to_leave() as leave:
        try:
            result = jobs.run(jobs.Job("live", task, LiveResult), typer.echo, leave)
        except TryAgainError:
            if not leave.is_set():
                raise
            typer.echo("Asked to leave before anything was played")
            return 0
    for played in result.played:
        typer.echo(_line(played))
    refused = f", {result.refused:,} put into quarantine" if result.refused else ""
    refused += f", {result.lost:,} lost: the server took no more" if result.lost else ""
    typer.echo(f"{result.stored:,} experiences stored{refused} in {result.seconds:.0f} s")
    return 0 if result.stored else 1


def _items(options: LiveOptions) -> Iterator[LiveItem]:
    known = definitions(options.run_dir, options.config)
    states = known_targets(options.run_dir) if options.run_dir.is_dir() else {}
    learning = [key for key, definition in known.items() if definition.from_play]
    for key in options.targets:
        if key not in known:
            raise UsageError(f"{key}: no built-in target; live play is there for {', '.join(learning)}")
        level = level_now(states.get(key, TargetState()), known[key].level)
        seed = seed_of(options.run_dir, options.seed)
        # fights of another start are other fights, unless a seed is given
        start = 0 if options.seed is not None else int(time.time())
        yield LiveItem(key, level, derive_seed(seed, "live", key, start))


def _line(played: LivePlayed) -> str:
    versions = [f"{version} {percent(played.score[version])} of {n:,}" for version, n in sorted(played.fights.items())]
    return f"{played.target}: {played.steps:,} steps, fights won: {', '.join(versions) or 'none has ended'}"


@contextmanager
def _asked_to_leave() -> Iterator[threading.Event]:
    """Set by Ctrl+C, or by a wish to terminate: the player ends its round and says what came of it."""
    leave = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        leave.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield leave
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
