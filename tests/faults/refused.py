"""An operation that the disk refuses: no room (ENOSPC, EDQUOT, EFBIG) once and for a while, and EIO.

Without room the run waits and goes on by itself. A failed fsync, and any I/O error of the supervisor's own, ends it
with exit code 75, and the next start goes on. Both come to the undisturbed end. The trials run in the same process,
so they are refused too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from supervisor.commands.oserrors import exit_code_of, message_of
from supervisor.errors import IncumbentError, TryAgainError
from supervisor.journal import durable
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.images import DAMAGED, operations
from tests.faults.killed import number_of
from tests.faults.picture import assert_same, picture
from tests.faults.scenario import Scenario, reference
from tests.faults.starts import hurry

WAITS = "waits, goes on by itself to the same end"
LEAVES = "exit code 75, and the next start comes to the same end"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSALS = 9  # operations in a row, while the disk has no room
STARTS = 4
BESIDE = replace(DAMAGED, name="refused beside", window=8, workers=2)

Refuse = Callable[[int, str], int | None]
"""(number of the operation, its name) -> errno, None where it may pass."""


def refuse(rule: Refuse) -> list[str]:
    """From now on the rule decides about every durable operation of this process; the list gets what was refused."""
    refused: list[str] = []
    number = -1

    def ask(operation: str, path: Path) -> None:
        nonlocal number
        number += 1
        code = rule(number, operation)
        if code is not None:
            refused.append(f"{operation} {path.name}")
            raise OSError(code, os.strerror(code))

    durable.failpoint = ask
    return refused


def once(wanted: int, code: int) -> Refuse:
    return lambda number, operation: code if number == wanted else None


def for_a_while(first: int) -> Refuse:
    """Everything that takes room, the next REFUSALS times."""
    left = REFUSALS

    def rule(number: int, operation: str) -> int | None:
        nonlocal left
        if number < first or left == 0 or operation.startswith("fsync"):
            return None
        left -= 1
        return errno.ENOSPC

    return rule


def check(scenario: Scenario, scratch: Path, rule_of: Callable[[int], Refuse], point: str, folder: Path) -> int:
    """Start until it comes to its end. What the operator would see in between must be exit code 75, and only where an
    I/O error, a failed fsync, or the start itself was refused."""
    run_dir = folder / "run"
    known = reference(scenario, scratch)
    known.lay(run_dir)
    hurry()
    refused = refuse(rule_of(number_of(point)))
    for _ in range(STARTS):
        try:
            scenario.run(run_dir)
        except (IncumbentError, OSError) as error:
            _assert_expected(error, refused[-1])
        else:
            break
    else:
        raise PromiseBrokenError(f"{STARTS} starts, and not at its end")
    if not refused:
        raise PromiseBrokenError("nothing was refused")
    durable.failpoint = None
    scenario.run(run_dir)  # what was left undone at the very end
    assert_same(picture(run_dir), known.expected)
    return len(refused)


def _assert_expected(error: IncumbentError | OSError, refused: str) -> None:
    code = exit_code_of(error) if isinstance(error, OSError) else error.exit_code
    message = message_of(error) if isinstance(error, OSError) else str(error)
    file = refused.split()[1].lstrip(".").partition(".")[0]  # of a snapshot, whichever of the two
    if code != TryAgainError.exit_code or file not in message:
        raise PromiseBrokenError(f"{refused}: exit code {code}: {message}") from error
    if isinstance(error, durable.DiskFullError):
        raise PromiseBrokenError(f"{refused}: it did not wait: {message}") from error


def cells(scratch: Path) -> list[Cell]:
    def cell(name: str, promise: str, rule_of: Callable[[int], Refuse], scenario: Scenario = DAMAGED) -> Cell:
        points = partial(_points, scenario, scratch, rule_of == for_a_while)
        return Cell(name, TIER_A, promise, points, partial(check, scenario, scratch, rule_of), reduced=3)

    return [
        cell("no room: once", WAITS, lambda number: once(number, NO_ROOM[number % len(NO_ROOM)])),
        cell("no room: for a while", WAITS, for_a_while),
        cell("no room: two workers", WAITS, for_a_while, BESIDE),
        cell("I/O error", LEAVES, lambda number: once(number, errno.EIO)),
    ]


def _points(scenario: Scenario, scratch: Path, taking_room: bool, folder: Path) -> Sequence[str]:
    points = operations(scenario, scratch)
    return [point for point in points if not (taking_room and point.split()[1].startswith("fsync"))]
