"""Run folders stopped at chosen moments: what there is to be damaged."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.journal.events import Events
from supervisor.journal.requests import Action, Request
from tests.faults.killed import killed_at, points_of
from tests.faults.scenario import Scenario, reference

DAMAGED = Scenario(
    "damaged",
    iterations=10,
    base=5,
    dashboard=False,
    kind="tests.support.saving:SavingTarget",
    requests=(Request("enqueue-1", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.9}),),
)
UNASKED = replace(DAMAGED, name="unasked", requests=())
WITH_DASHBOARD = Scenario("with dashboard", iterations=6, base=4)
IN_FLIGHT = "trials/000006"  # the enqueued candidate, which earns a contest


@dataclass(frozen=True)
class Image:
    """The scenario killed before the last of its durable operations with this name, or before the first."""

    name: str
    operation: str
    first: bool = False
    scenario: Scenario = DAMAGED

    def make(self, scratch: Path) -> Path:
        """The folder, to be copied."""
        return _make(self, scratch)


ASKED = Image("asked", f"make_folder {IN_FLIGHT}")  # a request waits
TRAINING = Image("training", f"rename {IN_FLIGHT}/progress.json")  # weights.pt one step newer than progress.json
PLAYING = Image("playing", f"open_append {IN_FLIGHT}/games.jsonl")  # a contest in its last block
CONTEST = Image("contest", "open_append training_log.jsonl", first=True)  # all that a trial writes is there
BETWEEN = Image("between", "make_folder trials/000009")  # two lines behind the last snapshot
CHARTED = Image("charted", "make_folder trials/000006", scenario=WITH_DASHBOARD)


def operations(scenario: Scenario, scratch: Path) -> Sequence[str]:
    """The scenario's durable operations as points."""
    _import_what_trials_need()
    return points_of(scenario, scratch)


def _import_what_trials_need() -> None:
    """Torch, once in the process that forks and not in every fork."""
    import tests.support.saving  # noqa: F401


@functools.cache
def _make(image: Image, scratch: Path) -> Path:
    """Once per process; forked children inherit it."""
    _import_what_trials_need()
    known = reference(image.scenario, scratch)
    numbers = [number for number, operation in enumerate(known.operations) if operation == image.operation]
    run_dir = known.base.with_name(f"image_{image.name}")
    shutil.rmtree(run_dir, ignore_errors=True)
    known.lay(run_dir)
    if not killed_at(image.scenario, run_dir, numbers[0 if image.first else -1]):
        raise RuntimeError(f"{image.name}: the run ended before the kill")
    Events(run_dir, lambda: "2000-01-01T00:00:00Z", str).write("start", "as every start says")
    return run_dir
