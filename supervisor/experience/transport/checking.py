"""Which rows of a file are no experiences. Pure, over whole columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences
from supervisor.experience.store import Refused
from supervisor.experience.transport.source import FLOATS

ROW_CHARACTERS = 4096
CURE = "leave such rows out, or let them go to the quarantine with --quarantine"


@dataclass(frozen=True)
class Fault:
    """A row that is no experience. `row` counts from 0."""

    row: int
    reason: str  # a code of the quarantine
    detail: str


def faults_of(rows: Experiences) -> list[Fault]:
    """The first fault of every row that has one, in order."""
    found: dict[int, Fault] = {}
    for reason, bad, detail in _rules(rows):
        for index in np.flatnonzero(bad).tolist():
            found.setdefault(index, Fault(index, reason, detail(index)))
    return [found[index] for index in sorted(found)]


def _rules(rows: Experiences) -> list[tuple[str, NDArray[np.bool_], Callable[[int], str]]]:
    rules: list[tuple[str, NDArray[np.bool_], Callable[[int], str]]] = []
    for name in FLOATS:
        values = getattr(rows, name)
        bad = ~np.isfinite(values) if values.ndim == 1 else ~np.isfinite(values).all(axis=1)
        rules.append(("not_finite", bad, lambda _, name=name: f"{name} has NaN or an infinite number"))  # type: ignore[misc]
    for name, reason in (
        ("actions", "action_out_of_range"),
        ("steps", "wrong_step"),
        ("versions", "wrong_version"),
        ("times", "wrong_time"),
    ):
        bad = getattr(rows, name) < 0
        rules.append((reason, bad, lambda _, name=name: f"{name} is below 0 or too large"))  # type: ignore[misc]
    rules.append(
        ("wrong_priority", rows.priorities <= 0, lambda index: f"priorities is {rows.priorities[index]:g}, not above 0")
    )
    return rules


def refused(target: str, rows: Experiences, fault: Fault) -> Refused:
    """For the quarantine, with the row as JSON; what is not finite there is a text."""
    row = rows.where(slice(fault.row, fault.row + 1))
    cells = {field.name: _plain(getattr(row, field.name)[0].tolist()) for field in fields(row)}
    return Refused(target, fault.reason, fault.detail, json.dumps(cells)[:ROW_CHARACTERS])


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)
