"""From verified bytes to a session that may serve: built aside, compared with its manifest, probed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import onnxruntime

from supervisor.contract import Interface
from supervisor.serving.errors import ApiError, Refused, refused
from supervisor.serving.gpu_room import MIB, Room, Share, arena_bytes
from supervisor.serving.graph import check_model
from supervisor.serving.leash import Leash, release_memory
from supervisor.serving.on_device import OnDevice, cuda_options
from supervisor.serving.provider import CPU, CUDA

__all__ = ["Arrays", "Session", "build", "release_memory"]

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

_FLOAT_TYPES: Mapping[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

BUILD_LIMIT_S: Mapping[str, float] = {CPU: 0.5, CUDA: 20.0}
"""Seconds of a core for building and probing: at least twice what the largest of our own networks take. The first
session on a GPU loads its libraries."""

_PROBE_ROWS = 32
_PROBE_ROWS_SLOW = 8  # where a batch of the other size would take longer than the time below
_PROBE_BATCH_S = 0.03
_TIMED_RUNS = 5
_TIMED_S = 0.02  # of repeated runs at one size, at most and beside the first
# Of the largest value of an output. Products of other sizes are added up in another order.
_TOLERANCE: Mapping[type[np.floating[Any]], float] = {np.float32: 1e-3, np.float16: 2e-2}
_TOLERANCE_CUDA = 2e-2  # it multiplies with ten bits of mantissa where it may


class Runtime(Protocol):
    """What runs a model: onnxruntime's own session, or one on the GPU."""

    def run(self, names: None, inputs: Any, options: Any = None, /) -> Sequence[Any]:
        """All outputs in the file's order."""


@dataclass(frozen=True)
class Session:
    """A model ready to run. `input_types` gives each input's numpy type: the file's own precision is kept, nothing is
    converted. Only on the GPU are halves also multiplied as such; on the CPU the runtime makes singles of them.
    `note` says why it runs on the CPU though others run on the GPU, and is empty otherwise.

    A batch of n rows takes about `seconds_per_run + n * seconds_per_row`, as measured when it was probed.
    """

    runtime: Runtime
    interface: Interface
    input_types: Mapping[str, type[np.floating[Any]]]
    provider: str
    seconds_per_row: float = 0.0
    seconds_per_run: float = 0.0
    note: str = ""

    def run(self, inputs: Arrays) -> Arrays:
        """All outputs by name, first dimension the rows of the inputs. Raises whatever the runtime does."""
        return dict(zip(self.interface.outputs, self.runtime.run(None, dict(inputs)), strict=True))


def build(data: bytes, manifest: Interface, max_rows: int, leash: Leash, room: Room | None = None) -> Session:
    """Check, build and probe, on the GPU where there is `room`. Raises Refused with the reason, whatever the bytes are;
    runs on the leash."""
    try:
        tensors_mb = check_model(data, max_rows)
        if room is None:
            return _built(data, manifest, max_rows, leash)
        return _on_gpu(data, manifest, max_rows, leash, room, arena_bytes(len(data), int(tensors_mb * MIB)))
    except ApiError:
        raise
    except Exception as error:  # a file so odd that the libraries that read it stumble
        raise refused("damaged", f"cannot be read: {type(error).__name__}: {_first_line(error)}") from error


def _on_gpu(data: bytes, manifest: Interface, max_rows: int, leash: Leash, room: Room, wanted_bytes: int) -> Session:
    """On the CPU, with a note, where the GPU has no room for it or does not run it."""
    share = room.take(wanted_bytes)
    if share is None:
        note = f"it would take {wanted_bytes // MIB} MB and {room.left_bytes // MIB} MB are left for serving"
    else:
        try:
            return _built(data, manifest, max_rows, leash, share)
        except Refused as error:
            if leash.reason is not None or error.code not in ("not_loadable", "probe_failed"):
                raise
            note = error.message
    return replace(_built(data, manifest, max_rows, leash), note=f"runs on the CPU: {note}")


def _built(data: bytes, manifest: Interface, max_rows: int, leash: Leash, share: Share | None = None) -> Session:
    with leash.limited(BUILD_LIMIT_S[CPU if share is None else CUDA]):
        session = _loaded(data, manifest, leash, share)
        if session.provider == CUDA:
            _probe_largest(session, leash, max_rows)
        return _probed(session, leash)


def _loaded(data: bytes, manifest: Interface, leash: Leash, share: Share | None) -> Session:
    options = leash.session_options
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    leash.run_options.log_severity_level = 4
    try:
        # Constants are not folded: folding runs operators while loading, where the runtime cannot be interrupted.
        chosen = [CPU] if share is None else [(CUDA, cuda_options(share)), CPU]
        runtime = onnxruntime.InferenceSession(
            data, options, providers=chosen, disabled_optimizers=["ConstantFolding"], enable_fallback=False
        )
    except Exception as error:  # the runtime's errors have no common class
        if leash.reason is not None:
            raise refused("too_slow", leash.reason) from error
        raise refused("not_loadable", f"the runtime does not load it: {_first_line(error)}") from error
    provider = runtime.get_providers()[0]
    return Session(
        runtime=OnDevice(runtime, share) if provider == CUDA else runtime,
        interface=_compared(runtime, manifest),
        input_types={value.name: _FLOAT_TYPES[value.type] for value in runtime.get_inputs()},
        provider=provider,
        note="runs on the CPU: CUDA was not loaded for it" if share is not None and provider != CUDA else "",
    )


def _compared(runtime: onnxruntime.InferenceSession, manifest: Interface) -> Interface:
    """The interface in the file's order, equal to the manifest."""
    found = Interface(
        inputs={value.name: _shape(value) for value in runtime.get_inputs()},
        outputs={value.name: _shape(value) for value in runtime.get_outputs()},
    )
    expected = ({name: tuple(shape) for name, shape in side.items()} for side in (manifest.inputs, manifest.outputs))
    for side, (file, wanted) in zip(
        ("inputs", "outputs"), zip((found.inputs, found.outputs), expected, strict=True), strict=True
    ):
        if file != wanted:
            raise refused("interface", f"the file's {side} are {_show(file)}, its registered ones {_show(wanted)}")
    return found


def _shape(value: onnxruntime.NodeArg) -> tuple[int, ...]:
    if value.type not in _FLOAT_TYPES:
        raise refused("element_type", f"{value.name!r} is a {value.type}; served are float and float16 tensors")
    first, *rest = value.shape or [1]
    if isinstance(first, int) or not all(isinstance(size, int) for size in rest):
        raise refused("interface", f"{value.name!r} has shape {value.shape}; only the first dimension is free")
    return (0, *rest)


def _show(side: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name}{list(shape)}" for name, shape in side.items())


def _probed(session: Session, leash: Leash) -> Session:
    """Run a batch of zeros, ones and seeded noise twice and some of its rows alone, and look at what comes out.

    Requests of different clients are run as one batch: what a row is answered may depend on neither its company nor
    chance.
    """
    noise = _probe_inputs(session)
    first = {name: value[:1] for name, value in noise.items()}
    one_s = min(_probe_once(session, leash, first, 1)[1] for _ in range(2))
    rows = _PROBE_ROWS if one_s * _PROBE_ROWS < _PROBE_BATCH_S else _PROBE_ROWS_SLOW
    batch = {name: value[:rows] for name, value in noise.items()}
    at_batch = [_probe_once(session, leash, batch, rows) for _ in range(2)]
    together, again = (values for values, _ in at_batch)
    _check_same(session, together, again, "it answered the same inputs differently when they were asked again")
    at_one = [one_s]
    for row in (0, 1, 2, rows - 1):
        one = {name: value[row : row + 1] for name, value in batch.items()}
        alone, seconds = _probe_once(session, leash, one, 1)
        at_one.append(seconds)
        expected = [value[row : row + 1] for value in together]
        _check_same(session, alone, expected, "a row alone was answered differently than in a batch")
    batch_s = _best_s(session, leash, batch, rows, [seconds for _, seconds in at_batch])
    one_s = _best_s(session, leash, first, 1, at_one)
    per_row, per_run = _line((1, one_s), (rows, batch_s))
    return replace(session, seconds_per_row=per_row, seconds_per_run=per_run)


def _probe_largest(session: Session, leash: Leash, max_rows: int) -> None:
    """First of all: what is too large for its share of the GPU fails here, and smaller batches find their room."""
    shapes = session.interface.inputs.items()
    largest = {name: np.zeros((max_rows, *shape[1:]), session.input_types[name]) for name, shape in shapes}
    _probe_once(session, leash, largest, max_rows)


def _probe_inputs(session: Session) -> Arrays:
    noise = np.random.default_rng(0)
    batch = {}
    for name, shape in session.interface.inputs.items():
        values = noise.standard_normal((_PROBE_ROWS, *shape[1:]))
        values[0], values[1] = 0.0, 1.0
        batch[name] = values.astype(session.input_types[name])
    return batch


def _probe_once(session: Session, leash: Leash, inputs: Arrays, rows: int) -> tuple[Sequence[Any], float]:
    """The outputs in the file's order, and the seconds it took."""
    started = time.perf_counter()
    try:
        values = session.runtime.run(None, dict(inputs), leash.run_options)
    except Exception as error:  # the runtime's errors have no common class
        if leash.reason is not None:
            raise refused("too_slow", leash.reason) from error
        raise refused("probe_failed", f"the probe failed: {_first_line(error)}") from error
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
        taken = [*taken, _probe_once(session, leash, inputs, rows)[1]]
    return min(taken)


def _line(one: tuple[int, float], many: tuple[int, float]) -> tuple[float, float]:
    """Seconds for each row and for each run, neither below 0, of the line through two measurements (rows, seconds)."""
    slope = max(0.0, (many[1] - one[1]) / (many[0] - one[0]))
    if slope * one[0] > one[1]:
        return many[1] / many[0], 0.0
    return slope, one[1] - slope * one[0]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
