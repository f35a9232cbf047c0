"""A model that is loaded and not yet serving is run, and what comes out is looked at and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from supervisor.serving.errors import refused
from supervisor.serving.leash import Leash
from supervisor.serving.provider import CUDA

if TYPE_CHECKING:
    from supervisor.serving.session import Arrays, Session

_ROWS = 32
_ROWS_SLOW = 8  # where a batch of the other size would take longer than the time below
_BATCH_S = 0.03
_TIMED_RUNS = 5
_TIMED_S = 0.02  # of repeated runs at one size, at most and beside the first
# Of the largest value of an output. Products of other sizes are added up in another order.
_TOLERANCE: Mapping[type[np.floating[Any]], float] = {np.float32: 1e-3, np.float16: 2e-2}
_TOLERANCE_CUDA = 2e-2  # it multiplies with ten bits of mantissa where it may


def probed(session: Session, leash: Leash) -> Session:
    """Run a batch of zeros, ones and seeded noise twice and some of its rows alone, and look at what comes out.

    Requests of different clients are run as one batch: what a row is answered may depend on neither its company nor
    chance.
    """
    noise = _inputs(session)
    first = {name: value[:1] for name, value in noise.items()}
    one_s = min(_once(session, leash, first, 1)[1] for _ in range(2))
    rows = _ROWS if one_s * _ROWS < _BATCH_S else _ROWS_SLOW
    batch = {name: value[:rows] for name, value in noise.items()}
    at_batch = [_once(session, leash, batch, rows) for _ in range(2)]
    together, again = (values for values, _ in at_batch)
    _check_same(session, together, again, "it answered the same inputs differently when they were asked again")
    at_one = [one_s]
    for row in (0, 1, 2, rows - 1):
        one = {name: value[row : row + 1] for name, value in batch.items()}
        alone, seconds = _once(session, leash, one, 1)
        at_one.append(seconds)
        expected = [value[row : row + 1] for value in together]
        _check_same(session, alone, expected, "a row alone was answered differently than in a batch")
    batch_s = _best_s(session, leash, batch, rows, [seconds for _, seconds in at_batch])
    one_s = _best_s(session, leash, first, 1, at_one)
    per_row, per_run = _line((1, one_s), (rows, batch_s))
    return replace(session, seconds_per_row=per_row, seconds_per_run=per_run)


def probe_largest(session: Session, leash: Leash, max_rows: int) -> None:
    """First of all: what is too large for its share of the GPU fails here, and smaller batches find their room."""
    shapes = session.interface.inputs.items()
    largest = {name: np.zeros((max_rows, *shape[1:]), session.input_types[name]) for name, shape in shapes}
    _once(session, leash, largest, max_rows)


def _inputs(session: Session) -> Arrays:
    noise = np.random.default_rng(0)
    batch = {}
    for name, shape in session.interface.inputs.items():
        values = noise.standard_normal((_ROWS, *shape[1:]))
        values[0], values[1] = 0.0, 1.0
        batch[name] = values.astype(session.input_types[name])
    return batch


def _once(session: Session, leash: Leash, inputs: Arrays, rows: int) -> tuple[Sequence[Any], float]:
    """The outputs in the file's order, and the seconds it took."""
    started = time.perf_counter()
    try:
        values = session.runtime.run(None, dict(inputs), leash.run_options)
    except Exception as error:  # the runtime's errors have no common class
        if leash.reason is not None:
            raise refused("too_slow", leash.reason) from error
        raise refused("probe_failed", f"the probe failed: {first_line(error)}") from error
    seconds = time.perf_counter() - started
    for (name, shape), value in zip(session.interface.outputs.items(), values, strict=True):
        if value.shape != (rows, *shape[1:]):
            raise refused("interface", f"output {name!r} came out as {list(value.shape)} for {rows} rows")
        if not np.isfinite(value).all():
            raise refused("not_finite", f"output {name!r} is not finite in the probe")
    return values, seconds


def _check_same(session: Session, found: Sequence[Any], expected: Sequence[Any], fault: str) -> None:
    for name, value, wanted in zip(session.interface.outputs, found, expected, strict=True):
        share = max(_TOLERANCE[value.dtype.type], _TOLERANCE_CUDA if session.provider == CUDA else 0.0)
        largest = float(np.abs(wanted, dtype=np.float64).max(initial=0.0))
        apart = float(np.abs(np.subtract(value, wanted, dtype=np.float64)).max(initial=0.0))
        if apart > share * max(largest, 1e-3):
            raise refused("inconsistent", f"output {name!r}: {fault} ({apart:.3g} apart, its largest is {largest:.3g})")


def _best_s(session: Session, leash: Leash, inputs: Arrays, rows: int, taken: list[float]) -> float:
    """The shortest of the runs taken and of some more, of none more where they are slow."""
    end = time.perf_counter() + _TIMED_S
    for _ in range(_TIMED_RUNS):
        if time.perf_counter() + min(taken) > end:
            break
        taken = [*taken, _once(session, leash, inputs, rows)[1]]
    return min(taken)


def _line(one: tuple[int, float], many: tuple[int, float]) -> tuple[float, float]:
    """Seconds for each row and for each run, neither below 0, of the line through two measurements (rows, seconds)."""
    slope = max(0.0, (many[1] - one[1]) / (many[0] - one[0]))
    if slope * one[0] > one[1]:
        return many[1] / many[0], 0.0
    return slope, one[1] - slope * one[0]


def first_line(error: Exception) -> str:
    """What the runtime says, which is often many lines."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
