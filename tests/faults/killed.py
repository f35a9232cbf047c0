"""SIGKILL before every durable operation, and a second one at every durable operation of the recovery."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from supervisor.journal import durable
from supervisor.journal.log import LOG_NAME
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.forked import dies
from tests.faults.picture import assert_same, picture
from tests.faults.scenario import (
    FIRST_START,
    FOUR_WORKERS,
    SERVER_WENT_BACK,
    SHORT,
    TWO_WORKERS,
    WITH_REQUESTS,
    Scenario,
    reference,
)
from tests.faults.wreck import assert_sound

SAME = "the finished run equals the undisturbed one"


def die_before(number: int) -> None:
    """Kill this process before the durable operation with this number, from 0."""
    left = number

    def count_down(operation: str, path: Path) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    durable.failpoint = count_down


def killed_at(scenario: Scenario, run_dir: Path, number: int) -> bool:
    """One start of the supervisor that is killed before its durable operation `number`; whether it came that far."""

    def work() -> None:
        die_before(number)
        scenario.run(run_dir)

    return dies(work)


def points_of(scenario: Scenario, scratch: Path) -> Sequence[str]:
    operations = reference(scenario, scratch).operations
    return [f"{number} {operation}" for number, operation in enumerate(operations)]


def number_of(point: str) -> int:
    return int(point.partition(" ")[0])


def check_kill(scenario: Scenario, scratch: Path, point: str, folder: Path) -> int:
    run_dir = folder / "run"
    known = reference(scenario, scratch)
    known.lay(run_dir)
    if not killed_at(scenario, run_dir, number_of(point)):
        raise PromiseBrokenError("the run ended before the kill")
    assert_sound(run_dir)
    scenario.run(run_dir)
    assert_same(picture(run_dir), known.expected)
    return 1


def check_second_kill(scenario: Scenario, scratch: Path, point: str, folder: Path) -> int:
    """From the disk that one kill left: every operation up to the first commit after it is killed too."""
    known = reference(scenario, scratch)
    first = folder / "first"
    known.lay(first)
    killed_at(scenario, first, number_of(point))
    number = 0
    while True:
        run_dir = folder / f"second{number}"
        shutil.copytree(first, run_dir)
        committed = _log_size(run_dir)
        died = killed_at(scenario, run_dir, number)
        recovered = not died or _log_size(run_dir) > committed
        assert_sound(run_dir)
        scenario.run(run_dir)
        assert_same(picture(run_dir), known.expected)
        shutil.rmtree(run_dir)
        if recovered:
            return number + died
        number += 1


def _log_size(run_dir: Path) -> int:
    path = run_dir / LOG_NAME
    return path.stat().st_size if path.exists() else 0


def cells(scratch: Path) -> list[Cell]:
    found = [
        Cell(
            f"kill: {scenario.name}",
            TIER_A,
            SAME,
            lambda folder, scenario=scenario: points_of(scenario, scratch),
            partial(check_kill, scenario, scratch),
        )
        for scenario in (FIRST_START, WITH_REQUESTS, SERVER_WENT_BACK, TWO_WORKERS, FOUR_WORKERS)
    ]
    second = Cell(
        "second kill",
        TIER_A,
        SAME,
        lambda folder: points_of(SHORT, scratch),
        partial(check_second_kill, SHORT, scratch),
        reduced=1,  # it deals some forty kills
    )
    return [*found, second]
