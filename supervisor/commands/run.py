"""`incumbent run`: the one place that wires the loop together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from supervisor.clock import Clock
from supervisor.commands.devices import require_devices
from supervisor.commands.identity import Identified, as_last_started, identify, outside_their_space, with_folders_seed
from supervisor.commands.serve import token_of
from supervisor.committing import Committer
from supervisor.config.settings import Settings
from supervisor.console import Console, announce_to, log_name, resumed_line
from supervisor.execution.executor import Executor
from supervisor.execution.gpu import Gpu
from supervisor.execution.ladder import Patience
from supervisor.execution.local import LocalExecutor
from supervisor.execution.machine import machine_of
from supervisor.execution.resource_note import Notes
from supervisor.execution.resources import Monitor
from supervisor.experience.opening import URL_VARIABLE, open_if_there
from supervisor.experience.store import ExperienceStore
from supervisor.journal import durable
from supervisor.journal.events import Events
from supervisor.journal.identity import RunIdentity, RunLock, save_identity
from supervisor.journal.log import Log
from supervisor.journal.recovery import Recovered, adopt, recover
from supervisor.lessons import Lessons
from supervisor.loop import Supervisor
from supervisor.memory import Memory
from supervisor.metrics.endpoint import Endpoint, open_endpoint
from supervisor.metrics.exposition import RunMetrics
from supervisor.metrics.figures import Observer
from supervisor.notify import Notifier
from supervisor.parts import Parts, Turn
from supervisor.projections import RunProjections
from supervisor.registry.active import ActiveFile, DamagedActiveError
from supervisor.registry.bookkeeper import Bookkeeper
from supervisor.registry.client import ServerClient
from supervisor.registry.delivery import ReloadDelivery
from supervisor.registry.store import ModelStore
from supervisor.retention import old_console_logs
from supervisor.search.policy import Proposer
from supervisor.search.projector import Projector
from supervisor.search.setup import Setup, load_setup
from supervisor.signals import Signals, StopAsked
from supervisor.storekeeper import Storekeeper
from supervisor.versions import changed_versions, library_versions

HISTORY_LOST = "history_lost"


@dataclass(frozen=True)
class RunOptions:
    """What the command line says. `flags` are settings by dotted name."""

    run_dir: Path
    config: Path | None = None
    flags: Mapping[str, object] | None = None
    single_iteration: bool = False
    dry_run: bool = False
    requests_only: bool = False  # carry out the promotions and rollbacks that wait, then leave
    adjust: Callable[[Setup], Setup] = field(default=lambda setup: setup)  # what a command changes of the targets


def run_supervisor(options: RunOptions) -> int:
    """Search until stopped; the exit code."""
    loaded = load_setup(options.config, os.environ, options.flags or {})
    setup = options.adjust(with_folders_seed(options.run_dir, loaded))
    if options.requests_only:
        setup = as_last_started(options.run_dir, setup)
    else:
        require_devices(setup)
    if options.dry_run:
        from supervisor.commands.plan import print_plan

        return print_plan(options.run_dir, setup)
    durable.make_folder(options.run_dir)
    lock = RunLock(options.run_dir)
    lock.acquire()
    console = Console(None if options.requests_only else options.run_dir / log_name(time.localtime()))
    with_signals = Signals()
    with_signals.install()
    try:
        notifier = Notifier() if options.requests_only else Notifier.from_environment(os.environ)
        _Run(options, setup, lock, console, with_signals, notifier).go()
    finally:
        with_signals.close()
        lock.release()
    return 0


class _Run:
    """One start of the supervisor, from the lock to a clean end."""

    def __init__(
        self, options: RunOptions, setup: Setup, lock: RunLock, console: Console, signals: Signals, notifier: Notifier
    ) -> None:
        self._options = options
        self._setup = setup
        self._lock = lock
        self._console = console
        self._signals = signals
        self._notifier = notifier
        self._clock = Clock()
        self._run_dir = options.run_dir
        self._events = Events(options.run_dir, self._clock.now_text, announce_to(console.say))

    def go(self) -> None:
        self._notifier.starting("recovering")
        found = identify(self._run_dir, self._setup)
        identity = found.now
        if found.before is not None and self._options.requests_only:
            identity = found.before  # the command's settings are not the run's: nobody asked to change it
        recovered = recover(self._run_dir, identity.run_id, identity.window)
        if found.before is None:  # not sooner: what lies here may be another run, whose run.json was lost
            save_identity(self._run_dir, identity)
            self._say_if_found_without(recovered)
        recovered = self._adopt_if_lost(recovered)
        if recovered.state.iteration > 0:
            self._console.say(resumed_line(recovered.state))
        elif found.before is None:
            self._console.say(f"New run {identity.run_id} in {self._run_dir}, seed {identity.seed}")
        for note in recovered.notes:
            self._events.write(note.event, note.reason)
        upgrade = changed_versions(recovered.versions, library_versions()) if recovered.versions else ""
        if upgrade:
            self._events.write("versions_changed", f"{upgrade}; lines committed before stay as they are")
        if found.before not in (None, identity):
            self._announce_changes(found, recovered)
            save_identity(self._run_dir, identity)
        self._events.write("start", f"iteration {recovered.state.iteration}, pid {os.getpid()}")
        self._say_how_many_workers(identity.window)
        memory = Memory.of(recovered, identity.window)
        settings = self._limited(memory)
        observer = Observer(self._run_dir, memory.state, self._setup.targets, settings.run.workers, self._clock)
        parts, delivery = self._parts(identity, memory, settings, observer)
        self._forget_old_consoles()
        endpoint = self._endpoint(settings, observer)
        hurried, storekeeper = True, None
        if not self._options.requests_only:
            storekeeper = Storekeeper(self._run_dir, settings.experience, identity.run_id, self._events.write)
        try:
            self._notifier.starting("recovering: bringing what others read up to date")
            log = Log(self._run_dir, memory.state.chain)
            committer = Committer(parts, memory, log)
            if any(note.event == HISTORY_LOST for note in recovered.notes):
                committer.snapshot()  # what was adopted stands nowhere else
            lessons = None if self._options.requests_only else self._lessons(settings, identity)
            supervisor = Supervisor(parts, memory, committer, self._signals, lessons, storekeeper)
            hurried = supervisor.run(self._options.requests_only)
        finally:
            if storekeeper is not None:
                storekeeper.close()
            parts.executor.close()
            parts.proposer.close()
            parts.projections.close(hurried)
            if endpoint is not None:
                endpoint.close()
        if self._options.requests_only:
            changed = {line.target for line in memory.latest if line.iteration > recovered.state.iteration}
            untold = delivery.close(0.0)
            self._say_if_untold({key: untold[key] for key in sorted(changed & untold.keys())}, parts.settings)
        self._console.say(self._farewell(memory.state.iteration, parts.settings.run.max_iterations))

    def _say_if_found_without(self, recovered: Recovered) -> None:
        if recovered.state.iteration > 0:
            self._events.write("identity_restored", "run.json was missing; today's settings give the same run")

    def _farewell(self, iteration: int, limit: int | None) -> str:
        """The last line: where it stands, and what goes on from there."""
        if self._options.requests_only:
            return f"Saved at iteration {iteration}"
        if self._options.single_iteration:
            return f"Saved at iteration {iteration}; the same command makes the next one"
        if limit is not None and iteration >= limit:
            return f"Saved at iteration {iteration}: the limit is reached; a higher --max-iterations goes on from here"
        return f"Saved at iteration {iteration}; the same command goes on from here"

    def _announce_changes(self, found: Identified, recovered: Recovered) -> None:
        for change in found.changes:
            self._events.write("settings_changed", change)
        for sentence in outside_their_space(recovered.state, self._setup, found):
            self._events.write("incumbent_outside_space", sentence)

    def _say_how_many_workers(self, window: int) -> None:
        wanted, cpus = self._setup.settings.run.workers, len(os.sched_getaffinity(0))
        if self._options.requests_only:
            return
        if min(wanted, window) > cpus:
            self._console.say(f"{min(wanted, window)} trials at a time share {cpus} CPUs: each takes longer")
        if wanted > window:
            self._events.write(
                "fewer_workers",
                f"{window} at a time instead of {wanted}: a proposal of this folder runs at most {window} ahead of the"
                " log, as its first start fixed; only a new --run-dir takes more",
            )

    def _say_if_untold(self, untold: Mapping[str, str], settings: Settings) -> None:
        """Of a change that a person asked for: nobody else says that production has not heard of it."""
        if untold:
            host, port = settings.serving.administration
            self._events.write(
                "server_silent",
                f"no server of this folder answers at {host}:{port}, so none was told of"
                f" {', '.join(f'{key} {version}' for key, version in untold.items())}. One that starts takes it"
                " up; for one that listens elsewhere give the --config that it was started with",
            )

    def _forget_old_consoles(self) -> None:
        """Starts come without end where something makes the supervisor leave again and again."""
        if self._console.log_path is not None:
            keep = self._setup.settings.run.retention_console_logs
            for path in old_console_logs(self._run_dir, keep, spare=self._console.log_path):
                durable.remove(path)

    def _adopt_if_lost(self, recovered: Recovered) -> Recovered:
        if not any(note.event == HISTORY_LOST for note in recovered.notes):
            return recovered
        try:
            active = ActiveFile.read(self._run_dir)
        except DamagedActiveError:
            active = None
        known = {key: entry.as_version() for key, entry in active.targets.items()} if active else {}
        return replace(recovered, states=tuple(adopt(state, known) for state in recovered.states))

    def _parts(
        self, identity: RunIdentity, memory: Memory, settings: Settings, observer: Observer
    ) -> tuple[Parts, ReloadDelivery]:
        store = ModelStore(self._run_dir)
        played = self._played(settings)  # before trials' processes begin: they inherit the address
        gpus = Gpu.find_all(self._console.say, self._events.write)
        monitor = Monitor(self._run_dir, settings.resources, gpus)
        report = self._quiet_report if self._options.requests_only else self._events.write
        spaces = {key: definition.space for key, definition in self._setup.targets.items()}
        executor = LocalExecutor(settings.run.workers, patience=_patience(settings), gpus=gpus)
        client = ServerClient(*settings.serving.administration, token_of(settings))
        delivery = ReloadDelivery(self._run_dir, client, identity.folder_id, report)
        # A command leaves the dashboard to the next start, which knows the address of its database.
        charts = not self._options.requests_only
        parts = Parts(
            run_dir=self._run_dir,
            identity=identity,
            settings=settings,
            definitions=self._setup.targets,
            lock=self._lock,
            executor=executor,
            proposer=Proposer(partial(self._meanwhile, executor, observer)),
            projections=RunProjections(
                self._run_dir,
                settings,
                self._setup.targets,
                store,
                self._events,
                delivery,
                Projector(self._run_dir, settings, identity.run_id, report, spaces) if charts else None,
                memory.states,
                Bookkeeper(self._run_dir, identity.run_id, identity.folder_id, played, report) if charts else None,
            ),
            store=store,
            events=self._events,
            say=self._console.say,
            admission=monitor.admission,
            overload=monitor.overload,
            room=monitor.room,
            machine=partial(machine_of, gpus),
            versions=library_versions(),
            clock=self._clock,
            notifier=self._notifier,
            measured=partial(self._tell_of, observer, Notes(self._run_dir, monitor)),
        )
        return parts, delivery

    def _tell_of(self, observer: Observer, notes: Notes, turn: Turn) -> None:
        observer.turn(turn)
        if not self._options.requests_only:  # whose limits are not the run's
            notes.turn(turn.waiting, turn.devices)

    def _meanwhile(self, executor: Executor, observer: Observer) -> None:
        """What the loop cares for while it waits for a proposal that takes long."""
        if self._signals.stop_asked:
            raise StopAsked
        executor.wait(0)  # trials that run are kept to their budgets
        self._notifier.beat()
        observer.beat()

    def _played(self, settings: Settings) -> Callable[[], ExperienceStore | None]:
        """Opens what was played; trials find the address in their environment."""
        url = settings.experience.url.get_secret_value() if settings.experience.url is not None else None
        if url is not None:
            os.environ[URL_VARIABLE] = url
        return partial(open_if_there, url, self._run_dir)

    def _lessons(self, settings: Settings, identity: RunIdentity) -> Lessons:
        return Lessons(
            self._run_dir,
            settings.continuous,
            self._setup.targets,
            self._played(settings),
            identity.run_id,
            self._events.write,
            self._console.say,
            once=self._options.single_iteration and settings.continuous.alone,
        )

    def _endpoint(self, settings: Settings, observer: Observer) -> Endpoint | None:
        """What Prometheus asks. A command that leaves again at once has none."""
        host, port = settings.run.metrics_host, settings.run.metrics_port
        if port is None or self._options.requests_only:
            return None
        metrics = RunMetrics(lambda: observer.figures)
        return open_endpoint(host, port, metrics.text, self._console.say, self._events.write)

    def _quiet_report(self, event: str, reason: str) -> None:
        """Of a command that leaves again at once: that no server runs is no news."""
        if event != "server_silent":
            self._events.write(event, reason)

    def _limited(self, memory: Memory) -> Settings:
        settings = self._setup.settings
        limit = settings.run.max_iterations
        if self._options.requests_only:
            limit = None  # what a person asks for is done whether or not the search is at its end
        elif self._options.single_iteration and not settings.continuous.alone:
            limit = memory.state.iteration + 1
        limits = {"max_iterations": limit, "workers": min(settings.run.workers, memory.window)}
        return settings.model_copy(update={"run": settings.run.model_copy(update=limits)})


def _patience(settings: Settings) -> Patience:
    """How the ladder treats trials; a stop of the whole run has less time than a single trial's."""
    budgets = settings.budgets
    return Patience(ask_s=budgets.stop_grace_s, hung_s=budgets.heartbeat_s)
