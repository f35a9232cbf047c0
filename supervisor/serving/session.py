"""From verified bytes to a session that may serve: built aside, compared with its manifest, probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import onnxruntime

from supervisor.contract import Interface
from supervisor.serving.errors import ApiError, Refused, refused
from supervisor.serving.gpu_room import MIB, Room, Share, arena_bytes
from supervisor.serving.graph import check_model
from supervisor.serving.leash import Leash, release_memory
from supervisor.serving.on_device import OnDevice, cuda_options
from supervisor.serving.probing import first_line, probe_largest, probed
from supervisor.serving.provider import CPU, CUDA

__all__ = ["Arrays", "Session", "build", "release_memory"]

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

_FLOAT_TYPES: Mapping[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

BUILD_LIMIT_S: Mapping[str, float] = {CPU: 0.5, CUDA: 20.0}
"""Seconds of a core for building and probing: at least twice what the largest of our own networks take. The first
session on a GPU loads its libraries."""


class Runtime(Protocol):
    """What runs a model: onnxruntime's own session, or one on the GPU."""

    def run(self, names: Any, inputs: Any, options: Any = None, /) -> Sequence[Any]:
        """The named outputs, of None all, in the file's order."""


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
        names = self._output_names  # of None the runtime would make this list anew each time
        return dict(zip(names, self.runtime.run(names, inputs if type(inputs) is dict else dict(inputs)), strict=True))

    @cached_property
    def _output_names(self) -> list[str]:
        return list(self.interface.outputs)

    def fitted(self, inputs: Arrays) -> Arrays:
        """Inputs that were read for another version, in this one's precision."""
        return {name: value.astype(self.input_types[name], copy=False) for name, value in inputs.items()}


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
        raise refused("damaged", f"cannot be read: {type(error).__name__}: {first_line(error)}") from error


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
            probe_largest(session, leash, max_rows)
        return probed(session, leash)


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
        raise refused("not_loadable", f"the runtime does not load it: {first_line(error)}") from error
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
