"""The work that tier A disturbs: a small run of the real supervisor on targets that cost nothing."""

from __future__ import annotations

import functools
import gc
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.journal import durable, requests
from supervisor.journal.requests import Action, Request
from tests.faults.forked import fork
from tests.faults.picture import Picture, picture
from tests.support.server_said import server_goes_back
from tests.support.small_run import TARGETS, SmallRun, definition

SETTINGS: dict[str, dict[str, object]] = {"run": {"checkpoint_interval": 3, "retention_trials": 4}}


@dataclass(frozen=True, eq=False)  # by identity: each is a constant, and its reference is made once
class Scenario:
    """`base` iterations run undisturbed and the requests are dropped; the fault strikes on the way to `iterations`."""

    name: str
    iterations: int
    base: int = 0
    window: int = 1
    workers: int = 1
    requests: tuple[Request, ...] = ()
    server_left: str | None = None  # the target whose incumbent the server has rolled back
    dashboard: bool = True
    sampler: str = "spsa"
    kind: str = "tests.support.noop:NoopTarget"

    def run(self, run_dir: Path) -> None:
        """One start of the supervisor, to the end of the scenario."""
        self._supervise(run_dir, self.iterations)

    def carry_out(self, run_dir: Path) -> None:
        """A start that carries out waiting requests and leaves, as `incumbent rollback` makes one."""
        self._supervise(run_dir, self.iterations, requests_only=True)

    def lay_base(self, run_dir: Path) -> None:
        """The folder as it is before the fault: empty, or with `base` iterations and requests waiting."""
        if self.base:
            self._supervise(run_dir, self.base)
        run_dir.mkdir(parents=True, exist_ok=True)
        for request in self.requests:
            requests.drop(run_dir, request)
        if self.server_left is not None:
            server_goes_back(run_dir, self.server_left)

    def _supervise(self, run_dir: Path, iterations: int, requests_only: bool = False) -> None:
        settings = {**SETTINGS, "search": {"sampler": self.sampler}}
        targets = {key: replace(definition(key), kind=self.kind) for key in TARGETS}
        run = SmallRun(run_dir, window=self.window, settings=settings, dashboard=self.dashboard, definitions=targets)
        run.run(iterations, slots=self.workers, requests_only=requests_only)


FIRST_START = Scenario("first start", iterations=5)
WITH_REQUESTS = Scenario(
    "requests",
    iterations=18,
    base=14,
    requests=(
        Request("enqueue-1", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.9}),
        Request("rollback-1", 2, Action.ROLLBACK, "aggressive/noop"),
    ),
)
SERVER_WENT_BACK = Scenario("server went back", iterations=17, base=14, server_left="aggressive/noop")
SHORT = Scenario("short", iterations=3, dashboard=False)
TWO_WORKERS = Scenario("two workers", iterations=7, window=4, workers=2)
FOUR_WORKERS = Scenario("four workers", iterations=8, window=4, workers=4)


WARMING = Scenario("warming up", iterations=4)


def warm_up(scratch: Path) -> None:
    """One run in this process: what it learns (schemas, SQL statements) the forks inherit, and a point takes half as
    long. Nothing of it is open, and no thread of it runs, when the first one is forked."""
    folder = scratch / WARMING.name.replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    WARMING.run(folder / "run")
    gc.collect()
    if threading.active_count() != 1:
        raise RuntimeError(f"a thread is left: {threading.enumerate()}")


@dataclass(frozen=True)
class Reference:
    """The scenario undisturbed: the folder before it, the picture after it, and every durable operation between."""

    base: Path
    expected: Picture
    operations: tuple[str, ...]  # "rename trials/000001/trial.json"

    def lay(self, run_dir: Path) -> None:
        """A copy of the folder before."""
        shutil.copytree(self.base, run_dir, symlinks=True)


@functools.cache
def reference(scenario: Scenario, scratch: Path) -> Reference:
    """Made once per process; forked children inherit it."""
    folder = scratch / scenario.name.replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    in_a_child(lambda: scenario.lay_base(folder / "base"), folder / "laying")
    names = folder / "operations"

    def counted() -> None:
        shutil.copytree(folder / "base", folder / "run")
        with names.open("a") as stream:

            def note(operation: str, path: Path) -> None:
                stream.write(f"{operation} {path.relative_to(folder / 'run')}\n")

            durable.failpoint = note
            scenario.run(folder / "run")

    in_a_child(counted, folder / "counting")
    return Reference(folder / "base", picture(folder / "run"), tuple(names.read_text().splitlines()))


def in_a_child(work: Callable[[], None], folder: Path) -> None:
    """So that no thread and no cache of it is inherited by the forks that follow."""
    child = fork("", folder, lambda: int(work() is None))
    _, failure = child.bury()
    if failure:
        raise RuntimeError(failure)
