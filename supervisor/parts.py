"""What the loop is made of, wired together in one place (cli) and handed in whole."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from supervisor.clock import Clock
from supervisor.config.settings import Settings
from supervisor.contract import Budget, TrialSpec, Waiting
from supervisor.execution.device import Machine, device_of
from supervisor.execution.executor import Executor
from supervisor.execution.room import Admission, Claim, Placement, Room, Want, fits
from supervisor.journal.events import Events
from supervisor.journal.identity import RunIdentity, RunLock
from supervisor.notify import Notifier
from supervisor.record import Record
from supervisor.registry.store import ModelStore
from supervisor.search.policy import Proposal, ProposalRequest
from supervisor.search.target import TargetDefinition
from supervisor.state import State


class Proposer(Protocol):
    """Who proposes: a function of the request alone, however many proposals the object made before."""

    def propose(self, request: ProposalRequest) -> Proposal: ...

    def close(self) -> None:
        """End whatever helps it propose (a child process, say)."""


class Projections(Protocol):
    """What is derived from the log for others: idempotent, keyed by iteration, brought up to date at the start."""

    def catch_up(self, state: State) -> None: ...

    def proposed(self, spec: TrialSpec) -> None: ...

    def committed(self, record: Record, state: State) -> None: ...

    def close(self, hurried: bool = False) -> None:
        """Complete what is under way; when hurried, what takes longer is left to the next start."""


@dataclass(frozen=True)
class Turn:
    """What a turn of the loop came to. `cycle`: the last look for experiences; `store_up`: whether it got an answer."""

    state: State
    running: int  # trials with a process
    waiting: Waiting | None
    cycle: int = 0
    store_up: bool = True
    devices: tuple[str, ...] = ()  # that trials run on; where none runs, that they would get


Measured = Callable[[Turn], None]
"""Called at the end of every turn; must neither block nor raise."""


@dataclass(frozen=True)
class Parts:
    """Everything with an effect that the loop uses."""

    run_dir: Path
    identity: RunIdentity
    settings: Settings
    definitions: Mapping[str, TargetDefinition]
    lock: RunLock
    executor: Executor
    proposer: Proposer
    projections: Projections
    store: ModelStore
    events: Events
    say: Callable[[str], None]  # one line for people on the console and in the console log
    admission: Callable[[], Admission]  # beside other programs
    versions: Mapping[str, str]  # of this program and the libraries that results depend on
    overload: Callable[[], str] = lambda: ""  # why trials that run must make room for other programs, if they must
    room: Callable[[Sequence[Claim], Budget, Want], Placement] = lambda running, further, want: fits(
        running, further, want, Room(math.inf)
    )
    machine: Callable[[], Machine] = Machine  # what answers there now
    clock: Clock = field(default_factory=Clock)
    cpus: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    notifier: Notifier = field(default_factory=Notifier)  # silent unless a service manager listens
    measured: Measured = lambda turn: None

    def device_of(self, definition: TargetDefinition) -> str:
        """What a trial of the target that is proposed now is to compute on."""
        return device_of(definition.device, self.machine(), definition.kind, definition.scale)[0]
