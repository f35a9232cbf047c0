"""A run in a fickle world: clocks, durations, crashes, the order in which trials end, kills in between. Whatever is
drawn, the log is the same."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

from supervisor.journal import durable
from supervisor.journal.requests import Action, Request
from tests.faults.cell import TIER_A, Cell
from tests.faults.forked import dies
from tests.faults.killed import die_before
from tests.faults.picture import Picture, assert_same, picture
from tests.faults.scenario import SETTINGS, in_a_child
from tests.faults.world import Facts, FickleExecutor, World
from tests.faults.wreck import assert_sound
from tests.support.small_run import SmallRun

ITERATIONS, WINDOW, MOST_WORKERS, MOST_KILLS = 22, 8, 4, 4
DRAWS = 100
SAMPLERS = ("spsa", "tpe", "cmaes", "nsga2")
FACTS = Facts(
    requests={
        12: Request("enqueue-1", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.9}),
        17: Request("rollback-1", 2, Action.ROLLBACK, "mage/noop"),
        18: Request("enqueue-2", 3, Action.ENQUEUE, "aggressive/noop", params={"skill": 0.8}),
    },
    out_of_memory=frozenset({5, 14}),
)


def start(sampler: str, run_dir: Path, memory: Path, whims: Random | None, killed_before: int = -1) -> int:
    """One start of the supervisor in the world; how many durable operations it made."""
    world = World(FACTS, run_dir, memory, whims)
    world.begin()
    die_before(killed_before)
    die, made = durable.failpoint, 0

    def operation(name: str, path: Path) -> None:
        nonlocal made
        made += 1
        if die is not None:
            die(name, path)
        world.operation(name, path)

    durable.failpoint = operation
    slots = whims.randint(1, MOST_WORKERS) if whims else 1
    run = SmallRun(run_dir, window=WINDOW, settings={**SETTINGS, "search": {"sampler": sampler}})
    executor = FickleExecutor(world, slots)
    run.run(ITERATIONS, slots=slots, admission=world.admission, executor=executor, clock=world.clock)
    durable.failpoint = None
    return made


@functools.cache
def calm(sampler: str, scratch: Path) -> tuple[Picture, int]:
    """The same facts in a calm world: the folder's picture and the number of durable operations."""
    folder = scratch / "double" / sampler
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = folder / "made"
    in_a_child(
        lambda: made.write_text(str(start(sampler, folder / "run", folder / "memory", None))) and None,
        folder / "running",
    )
    return comparable(folder / "run"), int(made.read_text())


def comparable(run_dir: Path) -> Picture:
    """The picture without what a trial measured by the clock."""
    return {
        name: _without_measured(text) if name.endswith("/result.json") else text
        for name, text in picture(run_dir).items()
    }


def _without_measured(text: str) -> str:
    return durable.canonical_json({key: value for key, value in json.loads(text).items() if key != "measured"}).decode()


def points(scratch: Path) -> Sequence[str]:
    for sampler in SAMPLERS:
        calm(sampler, scratch)
    return [f"{draw} {SAMPLERS[draw % len(SAMPLERS)]}" for draw in range(DRAWS)]


def check(scratch: Path, point: str, folder: Path) -> int:
    draw, sampler = point.split(" ")
    expected, operations = calm(sampler, scratch)
    run_dir, memory, drawn = folder / "run", folder / "memory", Random(draw)
    kills = drawn.randint(0, MOST_KILLS)
    dealt = 0
    for number in range(kills):
        before = drawn.randrange(operations * 2 // MOST_KILLS)
        whims = Random(f"{draw} {number}")
        dealt += dies(partial(start, sampler, run_dir, memory, whims, before))
        assert_sound(run_dir)
    start(sampler, run_dir, memory, Random(f"{draw} last"))
    assert_same(comparable(run_dir), expected)
    return 1 + dealt


def cells(scratch: Path) -> list[Cell]:
    return [
        Cell(
            "fickle world",
            TIER_A,
            "clocks, latency, crashes, moments and order of ends do not show",
            lambda folder: points(scratch),
            partial(check, scratch),
            reduced=3,
        )
    ]
