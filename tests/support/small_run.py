"""A whole supervisor in one process on targets that cost nothing: real journal, fold, sampler, promotion, registry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.clock import Clock
from supervisor.committing import Committer
from supervisor.config.settings import Settings
from supervisor.contract import Budget
from supervisor.execution.device import Machine
from supervisor.execution.executor import Executor
from supervisor.execution.room import Admission, Claim, Placement, Room, Want, fits
from supervisor.experience.opening import open_store
from supervisor.journal.events import Events
from supervisor.journal.identity import RunIdentity, RunLock
from supervisor.journal.log import Log, read_log
from supervisor.journal.recovery import recover
from supervisor.lessons import Lessons, OpenStore
from supervisor.loop import Supervisor
from supervisor.memory import Memory
from supervisor.parts import Measured, Parts, Projections
from supervisor.projections import RunProjections
from supervisor.record import Record
from supervisor.registry.bookkeeper import Bookkeeper
from supervisor.registry.store import ModelStore
from supervisor.search.policy import Proposer
from supervisor.search.projector import Projector
from supervisor.search.space import Parameter, Space
from supervisor.search.target import TargetDefinition
from supervisor.signals import Signals
from supervisor.state import State
from supervisor.storekeeper import Storekeeper
from tests.support.inline_executor import InlineExecutor
from trainers import worker

VERSIONS: Mapping[str, str] = {"test": "1"}
MACHINE_CLOCK = Clock()
TARGETS = ("aggressive/noop", "mage/noop")


def definition(key: str) -> TargetDefinition:
    space = Space(
        (
            Parameter("skill", "float", default=0.3, low=0.0, high=1.0),
            Parameter("other", "float", default=1.0, low=0.1, high=10.0, log=True),
            Parameter("whole", "int", default=4, low=1, high=9),
        )
    )
    return TargetDefinition(
        key=key,
        kind="tests.support.noop:NoopTarget",
        space=space,
        frequency="high",
        steps=1,
        wall_s=60.0,
        contenders="screened",
        games_cheap=False,
        scale="small",
    )


def room_for_all(running: Sequence[Claim], further: Budget, want: Want) -> Placement:
    return fits(running, further, want, Room(math.inf))


@dataclass
class SmallRun:
    """One run folder. `run` is one start of the supervisor; several in a row are restarts."""

    run_dir: Path
    targets: Sequence[str] = TARGETS
    window: int = 1
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    definitions: dict[str, TargetDefinition] = field(default_factory=dict)  # default: no-op targets
    dashboard: bool = False  # whether study.db is projected too
    learns: bool = False  # from experiences.db in the run folder, or from `played`
    played: OpenStore | None = None
    books: OpenStore | None = None  # where trainings and models are written down

    def __post_init__(self) -> None:
        self.definitions = self.definitions or {key: definition(key) for key in self.targets}

    @property
    def log(self) -> Sequence[Record]:
        return read_log(self.run_dir).records

    def events(self) -> Events:
        return Events(self.run_dir, lambda: "2000-01-01T00:00:00Z", self.said.append)

    def run(
        self,
        iterations: int,
        worker_main: Callable[[str], int] = worker.main,
        projections: Projections | None = None,
        signals: Signals | None = None,
        slots: int = 1,
        requests_only: bool = False,
        admission: Callable[[], Admission] = lambda: Admission(True, ""),
        room: Callable[[Sequence[Claim], Budget, Want], Placement] = room_for_all,
        machine: Callable[[], Machine] = Machine,
        versions: Mapping[str, str] = VERSIONS,
        executor: Executor | None = None,
        clock: Clock = MACHINE_CLOCK,
        cpus: int = 1,
        one_cycle: bool = False,
        overload: Callable[[], str] = lambda: "",
        measured: Measured = lambda turn: None,
        storekeeper: Storekeeper | None = None,
    ) -> State:
        """One start, up to this many iterations. An `executor` that is given stays open."""
        self.run_dir.mkdir(exist_ok=True)
        run = {"max_iterations": iterations, "targets": list(self.targets), "workers": slots}
        settings = Settings.model_validate({**self.settings, "run": {**run, **self.settings.get("run", {})}})
        lock = RunLock(self.run_dir)
        lock.acquire()
        recovered = recover(self.run_dir, "run", self.window)
        memory = Memory.of(recovered, self.window)
        store = ModelStore(self.run_dir)
        events = self.events()
        for note in recovered.notes:
            events.write(note.event, note.reason)
        taken = signals or Signals()
        own = projections or self._projections(settings, store, events, memory)
        parts = Parts(
            run_dir=self.run_dir,
            identity=RunIdentity("run", settings.run.seed, self.window, "folder", {}),
            settings=settings,
            definitions=self.definitions,
            lock=lock,
            executor=executor or InlineExecutor(worker_main, slots),
            proposer=Proposer(),
            projections=own,
            store=store,
            events=events,
            say=self.said.append,
            admission=admission,
            overload=overload,
            measured=measured,
            room=room,
            machine=machine,
            versions=versions,
            clock=clock,
            cpus=cpus,
        )
        try:
            committer = Committer(parts, memory, Log(self.run_dir, memory.state.chain))
            lessons = self._lessons(settings, events, one_cycle) if self.learns else None
            Supervisor(parts, memory, committer, taken, lessons, storekeeper).run(requests_only)
        finally:
            if executor is None:
                parts.executor.close()
            parts.proposer.close()
            own.close()
            if signals is None:
                taken.close()
            lock.release()
        return memory.state

    def _lessons(self, settings: Settings, events: Events, once: bool) -> Lessons:
        return Lessons(
            self.run_dir,
            settings.continuous,
            self.definitions,
            self.played or (lambda: open_store(None, self.run_dir)),
            "run",
            events.write,
            self.said.append,
            once=once,
        )

    def _projections(self, settings: Settings, store: ModelStore, events: Events, memory: Memory) -> RunProjections:
        spaces = {key: known.space for key, known in self.definitions.items()}
        projector = Projector(self.run_dir, settings, "run", events.write, spaces) if self.dashboard else None
        keeper = Bookkeeper(self.run_dir, "run", "folder", self.books, events.write) if self.books else None
        return RunProjections(
            self.run_dir, settings, self.definitions, store, events, None, projector, memory.states, keeper
        )


def comparable(records: Sequence[Record]) -> list[dict[str, object]]:
    """Lines without what a clock says."""
    return [{name: value for name, value in vars(record).items() if name != "time"} for record in records]
