"""`incumbent run`: the one place that wires the loop together."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.commands.serve import token_of
from supervisor.committing import Committer
from supervisor.config.settings import Settings
from supervisor.console import Console, announce_to, log_name, resumed_line
from supervisor.contract import Json
from supervisor.execution.gpu import Gpu
from supervisor.execution.ladder import Patience
from supervisor.execution.local import LocalExecutor
from supervisor.execution.resources import Monitor
from supervisor.journal import durable
from supervisor.journal.events import Events
from supervisor.journal.identity import RunIdentity, RunLock, load_identity, run_id_of, save_identity
from supervisor.journal.log import Log
from supervisor.journal.recovery import Recovered, adopt, recover
from supervisor.loop import Supervisor
from supervisor.memory import Memory
from supervisor.parts import Clock, Parts
from supervisor.projections import RunProjections
from supervisor.registry.active import ActiveFile, DamagedActiveError
from supervisor.registry.client import ServerClient
from supervisor.registry.delivery import ReloadDelivery
from supervisor.registry.store import ModelStore
from supervisor.search.policy import Proposer
from supervisor.search.projector import Projector
from supervisor.search.setup import Setup, load_setup
from supervisor.signals import Signals
from supervisor.versions import library_versions

HISTORY_LOST = "history_lost"


@dataclass(frozen=True)
class RunOptions:
    """What the command line says. `flags` are settings by dotted name."""

    run_dir: Path
    config: Path | None = None
    flags: Mapping[str, object] | None = None
    single_iteration: bool = False
    dry_run: bool = False
    requests_only: bool = False  # carry out waiting requests, then leave


def run_supervisor(options: RunOptions) -> int:
    """Search until stopped; the exit code."""
    setup = load_setup(options.config, os.environ, options.flags or {})
    if options.dry_run:
        from supervisor.commands.plan import print_plan

        return print_plan(options.run_dir, setup)
    durable.make_folder(options.run_dir)
    lock = RunLock(options.run_dir)
    lock.acquire()
    console = Console(None if options.requests_only else options.run_dir / log_name(time.localtime()))
    try:
        with_signals = Signals()
        with_signals.install()
        _Run(options, setup, lock, console, with_signals).go()
    finally:
        lock.release()
    return 0


class _Run:
    """One start of the supervisor, from the lock to a clean end."""

    def __init__(self, options: RunOptions, setup: Setup, lock: RunLock, console: Console, signals: Signals) -> None:
        self._options = options
        self._setup = setup
        self._lock = lock
        self._console = console
        self._signals = signals
        self._clock = Clock()
        self._run_dir = options.run_dir
        self._events = Events(options.run_dir, self._clock.now_text, announce_to(console.say))

    def go(self) -> None:
        identity, is_new, changes = self._identity()
        recovered = recover(self._run_dir, identity.run_id, identity.window)
        recovered = self._adopt_if_lost(recovered)
        if recovered.state.iteration > 0:
            self._console.say(resumed_line(recovered.state))
        elif is_new:
            self._console.say(f"New run {identity.run_id} in {self._run_dir}, seed {identity.seed}")
        for note in recovered.notes:
            self._events.write(note.event, note.reason)
        if self._options.requests_only:
            changes = []  # the command's settings are not the run's: nobody asked to change it
        for change in changes:
            self._events.write("settings_changed", change)
        if changes:
            save_identity(self._run_dir, replace(identity, decides=self._setup.decides()))
        self._events.write("start", f"iteration {recovered.state.iteration}, pid {os.getpid()}")
        memory = Memory.of(recovered, identity.window)
        parts = self._parts(identity, memory)
        hurried = True
        try:
            parts.projections.catch_up(memory.state, memory.records)
            log = Log(self._run_dir, memory.state.chain)
            committer = Committer(parts, memory, log)
            if any(note.event == HISTORY_LOST for note in recovered.notes):
                committer.snapshot()  # what was adopted stands nowhere else
            hurried = Supervisor(parts, memory, committer, self._signals).run(self._options.requests_only)
        finally:
            parts.executor.close()
            parts.proposer.close()
            parts.projections.close(hurried)
        self._console.say(self._farewell(memory.state.iteration, parts.settings.run.max_iterations))

    def _farewell(self, iteration: int, limit: int | None) -> str:
        """The last line: where it stands, and what goes on from there."""
        if self._options.requests_only:
            return f"Saved at iteration {iteration}"
        if limit is not None and iteration >= limit:
            return f"Saved at iteration {iteration}: the limit is reached; a higher --max-iterations goes on from here"
        return f"Saved at iteration {iteration}; the same command goes on from here"

    def _identity(self) -> tuple[RunIdentity, bool, list[str]]:
        """The folder's identity; what the settings of today change about it, as sentences."""
        settings = self._setup.settings
        decides = self._setup.decides()
        known = load_identity(self._run_dir)
        if known is not None:
            return known, False, _differences(known.decides, decides)
        window = 1 if settings.run.workers == 1 else 4 * settings.run.workers
        identity = RunIdentity(
            run_id=settings.run.run_id or run_id_of(settings.run.seed, window, decides),
            seed=settings.run.seed,
            window=window,
            folder_id=uuid.uuid4().hex,
            decides=decides,
        )
        save_identity(self._run_dir, identity)
        return identity, True, []

    def _adopt_if_lost(self, recovered: Recovered) -> Recovered:
        if not any(note.event == HISTORY_LOST for note in recovered.notes):
            return recovered
        try:
            active = ActiveFile.read(self._run_dir)
        except DamagedActiveError:
            active = None
        known = {key: entry.as_version() for key, entry in active.targets.items()} if active else {}
        return replace(recovered, states=tuple(adopt(state, known) for state in recovered.states))

    def _parts(self, identity: RunIdentity, memory: Memory) -> Parts:
        settings = self._limited(memory)
        store = ModelStore(self._run_dir)
        gpu = Gpu.find(self._console.say)
        monitor = Monitor(self._run_dir, settings.resources, gpu)
        report = self._quiet_report if self._options.requests_only else self._events.write
        spaces = {key: definition.space for key, definition in self._setup.targets.items()}
        client = ServerClient(settings.serving.host, settings.serving.port, token_of(settings))
        return Parts(
            run_dir=self._run_dir,
            identity=identity,
            settings=settings,
            definitions=self._setup.targets,
            lock=self._lock,
            executor=LocalExecutor(settings.run.workers, patience=_patience(settings), bound_address_space=gpu is None),
            proposer=Proposer(),
            projections=RunProjections(
                self._run_dir,
                settings,
                self._setup.targets,
                store,
                self._events,
                ReloadDelivery(self._run_dir, client, identity.folder_id, report),
                Projector(self._run_dir, settings, identity.run_id, report, spaces),
            ),
            store=store,
            events=self._events,
            say=self._console.say,
            admission=monitor.admission,
            versions=library_versions(),
            clock=self._clock,
        )

    def _quiet_report(self, event: str, reason: str) -> None:
        """Of a command that leaves again at once: that no server runs is no news."""
        if event != "server_silent":
            self._events.write(event, reason)

    def _limited(self, memory: Memory) -> Settings:
        settings = self._setup.settings
        limit = settings.run.max_iterations
        if self._options.requests_only:
            limit = None  # what a person asks for is done whether or not the search is at its end
        elif self._options.single_iteration:
            limit = memory.state.iteration + 1
        return settings.model_copy(update={"run": settings.run.model_copy(update={"max_iterations": limit})})


def _patience(settings: Settings) -> Patience:
    """How the ladder treats trials; a stop of the whole run has less time than a single trial's."""
    budgets = settings.budgets
    return Patience(ask_s=budgets.stop_grace_s, hung_s=budgets.heartbeat_s)


def _differences(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    """What decides results and is not as it was at the folder's first start, a sentence each."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [f"{_difference(name, before, now)}; applies from the next iteration" for name in names]


def _difference(name: str, before: Mapping[str, Json], now: Mapping[str, Json]) -> str:
    target = name.removeprefix("targets.")
    if target != name:  # the value is a hash over the target's definition
        what = (
            "is searched too" if name not in before else "is no longer searched" if name not in now else "has changed"
        )
        return f"{target} {what}"
    return f"{name}: {_shown(before.get(name))} -> {_shown(now.get(name))}"


def _shown(value: Json) -> str:
    return "not set" if value is None else json.dumps(value)
