"""The world outside a run: what it decides is fixed, everything else about it is drawn anew at every start.

Drawn are the clocks, how long anything takes, in which order trials end, which attempts crash or are lost, and at which
moment before its iteration a request arrives. Fixed are the facts: which iteration a request becomes and which trial
runs out of memory. A fact is told once; whoever forgets it and asks again hears something else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from supervisor.clock import Clock
from supervisor.contract import Params
from supervisor.execution.executor import Exit, ExitKind, Launch
from supervisor.execution.resources import Admission
from supervisor.journal import requests
from supervisor.journal.requests import Request
from supervisor.journal.trial_folder import FACTS_NAME, all_folders
from tests.support.inline_executor import InlineExecutor
from tests.support.noop import NoopTarget
from trainers import worker
from trainers.target import Built

BEARABLE_CRASHES = 2  # of a trial; the third without progress would be a fact
LONGEST_TRIAL_OPERATIONS = 30  # a crash may strike before any of them
CRASHES = (ExitKind.CRASHED, ExitKind.HUNG, ExitKind.LOST)
HARMLESS = (ExitKind.STOPPED, ExitKind.DISK_FULL)  # the trial is continued, however often
TOLD = Exit(ExitKind.OUT_OF_MEMORY, None, 9, "told once", 1.0, 1)


@dataclass(frozen=True)
class Facts:
    """What does not depend on the draw, by iteration."""

    requests: Mapping[int, Request] = field(default_factory=dict)
    out_of_memory: frozenset[int] = frozenset()


class CrashedError(BaseException):
    """Stands for a trial process that is gone: nothing inside the trial may catch it."""


class World:
    """Around one start of the supervisor. Without `whims` it is calm and in order. `memory` outlives the start."""

    def __init__(self, facts: Facts, run_dir: Path, memory: Path, whims: Random | None) -> None:
        self.facts, self.run_dir, self.memory, self.whims = facts, run_dir, memory, whims
        memory.mkdir(exist_ok=True)
        self._now_s = whims.uniform(0, 1e6) if whims else 0.0
        self._pace_s = whims.choice([1e-4, 1.0, 50.0]) if whims else 0.0
        self._seen: set[str] = set()  # requests that the supervisor has found
        self._unheard: Path | None = None  # the folder of a trial whose exit was told, and not yet acted upon
        self._in_trial = False
        self._crash_in = -1
        self._busy = False

    def begin(self) -> None:
        """Take over clocks and doors of this process."""
        find = requests.waiting

        def waiting(run_dir: Path) -> tuple[list[Request], list[str]]:
            found = find(run_dir)
            self._seen = {request.id for request in found[0]}
            return found

        requests.waiting = waiting
        if self.whims is not None:
            time.time = self._wall_s
            NoopTarget.build = _measuring(self.whims, NoopTarget.build)  # type: ignore[method-assign]

    @property
    def clock(self) -> Clock:
        if self.whims is None:
            return Clock()
        return Clock(self._monotonic_s, lambda: datetime.fromtimestamp(self._wall_s(), UTC).isoformat())

    def time_passes(self) -> None:
        if self.whims is not None:
            self._now_s += self.whims.choice([0.01, 1.0, 100.0])
        self._maybe_ask(0.2)

    def operation(self, operation: str, path: Path) -> None:
        """The failpoint: something is about to become durable."""
        if self._busy:
            return
        if (
            self._unheard is not None
            and path.name != FACTS_NAME
            and (operation, path) != ("fsync_folder", self._unheard)
        ):
            (self.memory / self._unheard.name).touch()
            self._unheard = None
        if self._in_trial and self._crash_in == 0:
            raise CrashedError
        self._crash_in -= self._in_trial
        self._maybe_ask(0.02)

    def admission(self) -> Admission:
        """No room for the iteration that a request is to become, until the supervisor has found the request."""
        request = self.facts.requests.get(self._next_iteration())
        if request is None or request.id in self._seen:
            return Admission(True, "")
        self._maybe_ask(0.5)
        return Admission(False, "the world waits for a request")

    def attempt(self, launch: Launch, run: Callable[[Launch], Exit]) -> Exit:
        """How an attempt ends, and what it did before."""
        if launch.iteration in self.facts.out_of_memory and not (self.memory / launch.folder.name).exists():
            return TOLD
        if self.whims is None:
            return run(launch)
        ended = self._disturbed(launch, run, self.whims)
        return replace(ended, duration_s=self.whims.expovariate(1.0), peak_ram_mb=self.whims.randrange(10_000))

    def told(self, folder: Path, ended: Exit) -> None:
        if ended is TOLD:
            self._unheard = folder

    def _disturbed(self, launch: Launch, run: Callable[[Launch], Exit], whims: Random) -> Exit:
        crash = Exit(whims.choice(CRASHES), None, 11, "drawn", 0.0, 0)
        fate = whims.random() if self._crashes(launch) < BEARABLE_CRASHES else 1.0
        if fate < 0.05:
            return crash
        if fate < 0.10:
            return replace(crash, kind=whims.choice(HARMLESS), signal=None)
        self._crash_in = whims.randrange(LONGEST_TRIAL_OPERATIONS) if fate < 0.25 else -1
        self._in_trial = True
        try:
            ended = run(launch)
        except CrashedError:
            return crash
        finally:
            self._in_trial = False
        return crash if fate < 0.35 and ended.kind is ExitKind.DONE else ended

    def _crashes(self, launch: Launch) -> int:
        path = launch.folder / FACTS_NAME
        lines = path.read_bytes().splitlines() if path.exists() else []
        return sum(bool(json.loads(line).get("counts")) for line in lines)

    def _next_iteration(self) -> int:
        proposed = [folder.iteration for folder in all_folders(self.run_dir) if (folder.path / "trial.json").exists()]
        return max(proposed, default=0) + 1

    def _maybe_ask(self, chance: float) -> None:
        """Drop the request that the next iteration is to carry out, now or later."""
        if self._busy or not (self.run_dir / "trials").exists():
            return
        request = self.facts.requests.get(self._next_iteration())
        if request is None or (self.run_dir / requests.FOLDER_NAME / f"{request.id}.json").exists():
            return
        if self.whims is None or self.whims.random() < chance:
            self._busy = True
            requests.drop(self.run_dir, request)
            self._busy = False

    def _monotonic_s(self) -> float:
        assert self.whims is not None
        self._now_s += self.whims.expovariate(1.0) * self._pace_s
        return self._now_s

    def _wall_s(self) -> float:
        assert self.whims is not None
        return self.whims.uniform(0, timedelta(days=20_000).total_seconds())


class FickleExecutor(InlineExecutor):
    """Trials end in whatever order and way the world has for them."""

    def __init__(self, world: World, slots: int) -> None:
        super().__init__(worker.main, slots)
        self._world = world
        self._folders: dict[str, Path] = {}

    def submit(self, launch: Launch) -> str:
        handle = super().submit(launch)
        self._folders[handle] = launch.folder
        return handle

    def poll(self, handle: str) -> Exit | None:
        ended = super().poll(handle)
        if ended is not None:
            self._world.told(self._folders.pop(handle), ended)
        return ended

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> None:
        """Nobody sleeps here: time passes as the world's clock says."""
        self._world.time_passes()
        whims, waiting = self._world.whims, list(self._waiting)
        if self._ended and (whims is None or whims.random() < 0.7):
            return
        ending = (
            waiting[:1] if whims is None else whims.sample(waiting, whims.randint(min(1, len(waiting)), len(waiting)))
        )
        for handle in ending:
            self._ended[handle] = self._world.attempt(self._waiting.pop(handle), self._run)


def _measuring(whims: Random, build: Callable[[NoopTarget, Params, Path], Built]) -> Callable[..., Built]:
    """Latencies that vary, and always hold."""

    def built(target: NoopTarget, params: Params, work: Path) -> Built:
        made = build(target, params, work)
        return replace(made, measured={**made.measured, "latency_ms_batch_1": whims.uniform(0.01, 1.0)})

    return built
