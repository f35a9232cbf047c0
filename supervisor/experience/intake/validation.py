"""Which rows of a block are experiences. Pure, and over whole columns: thousands of rows take milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.intake import refusals
from supervisor.experience.intake.form import Form
from supervisor.experience.intake.refusals import refused
from supervisor.experience.rows import MICROSECONDS, Bools, Experiences
from supervisor.experience.store import Refused

FUTURE_US = 3600 * MICROSECONDS
"""Clocks differ; what is further ahead would be kept longest and read last."""

Mistake = tuple[str, Bools | bool, Callable[[int], str]]
"""A code, which rows have it, and what is told of one of them."""


def examined(
    target: str, rows: Experiences, form: Form, now_us: int, told: Callable[[int], str]
) -> tuple[Experiences, list[Refused]]:
    """The good rows in order, and the others. `told` has a row as it was given; of several mistakes one is named."""
    mistakes = _mistakes(rows, form, now_us)
    verdicts = np.zeros(len(rows), np.int8)
    for number, (_, has_it, _) in enumerate(mistakes, start=1):
        verdicts[(verdicts == 0) & has_it] = number
    bad = np.flatnonzero(verdicts)
    if not len(bad):
        return rows, []
    quarantined = []
    for index in bad.tolist():
        code, _, tell = mistakes[verdicts[index] - 1]
        quarantined.append(refused(target, code, tell(index), told(index)))
    return rows.where(verdicts == 0), quarantined


def _mistakes(rows: Experiences, form: Form, now_us: int) -> list[Mistake]:
    return [
        (
            refusals.WRONG_WIDTH,
            rows.width != form.width,
            lambda _: f"state: {rows.width} numbers where the model takes {form.width}",
        ),
        *_of_actions(rows, form),
        *[
            (refusals.NOT_FINITE, ~_finite(values), lambda index, name=name, values=values: _where(name, values[index]))
            for name, values in (
                ("state", rows.states),
                ("next_state", rows.next_states),
                ("reward", rows.rewards),
                ("action", rows.controls),
                ("priority", rows.priorities),
            )
        ],
        (
            refusals.WRONG_PRIORITY,
            rows.priorities <= 0,
            lambda index: f"priority: {rows.priorities[index]:g}; must be above 0",
        ),
        (refusals.WRONG_STEP, rows.steps < 0, lambda index: f"step: {rows.steps[index]}; the first is 0"),
        (refusals.WRONG_VERSION, rows.versions < 0, lambda index: f"version: {rows.versions[index]}; 0 is unknown"),
        (refusals.WRONG_TIME, rows.times < 0, lambda index: f"timestamp: {rows.times[index]} us is before 1970"),
        (
            refusals.FROM_THE_FUTURE,
            rows.times > now_us + FUTURE_US,
            lambda index: f"timestamp: {(int(rows.times[index]) - now_us) / MICROSECONDS:.0f} s ahead of the server",
        ),
    ]


def _of_actions(rows: Experiences, form: Form) -> list[Mistake]:
    given, taken = rows.controls.shape[1], form.controls
    found: list[Mistake] = []
    if taken is not None:
        found.append((refusals.WRONG_ACTION, given != taken, lambda _: f"action: {_kind(given)}, not {_kind(taken)}"))
    if given == 0:
        beyond = rows.actions < 0
        if form.choices is not None:
            beyond |= rows.actions >= form.choices
        most = "" if form.choices is None else f" to {form.choices - 1}"
        told = "action: {}; there are 0{}"
        found.append(
            (refusals.ACTION_OUT_OF_RANGE, beyond, lambda index: told.format(rows.actions[index], most or " and more"))
        )
    return found


def _kind(controls: int) -> str:
    return f"{controls} numbers" if controls else "one of a few"


def _finite(values: NDArray[Any]) -> Bools:
    good: Bools = np.isfinite(values)
    return good if good.ndim == 1 else cast(Bools, good.all(axis=1))


def _where(name: str, values: Any) -> str:
    if np.ndim(values) == 0:
        return f"{name}: {values} is not finite"
    index = int(np.flatnonzero(~np.isfinite(values))[0])
    return f"{name}[{index}]: {values[index]} is not finite"
