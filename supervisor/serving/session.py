"""From verified bytes to a session that may serve: built aside, compared with its manifest, probed."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from supervisor.contract import Interface
from supervisor.serving.errors import ApiError, refused
from supervisor.serving.graph import check_model
from supervisor.serving.leash import Leash

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

_FLOAT_TYPES: Mapping[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_PROBE_ROWS = (1, 8)


@dataclass(frozen=True)
class Session:
    """A model ready to run. `input_types` gives each input's numpy type."""

    runtime: onnxruntime.InferenceSession
    interface: Interface
    input_types: Mapping[str, type[np.floating[Any]]]
    provider: str

    def run(self, inputs: Arrays) -> Arrays:
        """All outputs by name, first dimension the rows of the inputs. Raises ApiError (500) where the model fails."""
        try:
            values = self.runtime.run(None, dict(inputs))
        except Exception as error:  # the runtime's errors have no common class
            raise ApiError(500, "model_failed", f"the model failed: {_first_line(error)}") from error
        outputs = dict(zip(self.interface.outputs, values, strict=True))
        for name, value in outputs.items():
            if not np.isfinite(value).all():
                raise ApiError(500, "output_not_finite", f"the model's output {name!r} is not finite for this input")
        return outputs


def providers() -> list[str]:
    """Execution providers in order of preference: the GPU where there is one that the runtime can use."""
    cuda = "CUDAExecutionProvider"
    if cuda in onnxruntime.get_available_providers() and _gpu_present():
        onnxruntime.preload_dlls()
        return [cuda, "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _gpu_present() -> bool:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    try:
        return bool(pynvml.nvmlDeviceGetCount() > 0)
    finally:
        pynvml.nvmlShutdown()


def build(data: bytes, manifest: Interface, max_rows: int, leash: Leash) -> Session:
    """Check, build and probe. Raises Refused with the reason, whatever the bytes are; runs on the leash."""
    try:
        return _build(data, manifest, max_rows, leash)
    except ApiError:
        raise
    except Exception as error:  # a file so odd that the libraries that read it stumble
        raise refused("damaged", f"cannot be read: {type(error).__name__}: {_first_line(error)}") from error


def _build(data: bytes, manifest: Interface, max_rows: int, leash: Leash) -> Session:
    check_model(data, max_rows)
    options = leash.session_options
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    leash.run_options.log_severity_level = 4
    try:
        # Constants are not folded: folding runs operators while loading, where the runtime cannot be interrupted.
        runtime = onnxruntime.InferenceSession(
            data, options, providers=providers(), disabled_optimizers=["ConstantFolding"], enable_fallback=False
        )
    except Exception as error:  # the runtime's errors have no common class
        raise refused("not_loadable", f"the runtime does not load it: {_first_line(error)}") from error
    session = Session(
        runtime=runtime,
        interface=_compared(runtime, manifest),
        input_types={value.name: _FLOAT_TYPES[value.type] for value in runtime.get_inputs()},
        provider=runtime.get_providers()[0],
    )
    _probe(session, leash)
    return session


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


def _probe(session: Session, leash: Leash) -> None:
    """Run it on zeros, ones and seeded noise, in two batch sizes, and look at what comes out."""
    noise = np.random.default_rng(0)
    for rows in _PROBE_ROWS:
        for fill in (np.zeros, np.ones, noise.standard_normal):
            inputs = {
                name: np.asarray(fill((rows, *shape[1:]))).astype(session.input_types[name])
                for name, shape in session.interface.inputs.items()
            }
            _probe_once(session, leash, inputs, rows)


def _probe_once(session: Session, leash: Leash, inputs: Arrays, rows: int) -> None:
    try:
        values = session.runtime.run(None, dict(inputs), leash.run_options)
    except Exception as error:  # the runtime's errors have no common class
        raise refused("probe_failed", f"the probe failed: {_first_line(error)}") from error
    for (name, shape), value in zip(session.interface.outputs.items(), values, strict=True):
        if value.shape != (rows, *shape[1:]):
            raise refused("interface", f"output {name!r} came out as {list(value.shape)} for {rows} rows")
        if not np.isfinite(value).all():
            raise refused("not_finite", f"output {name!r} is not finite in the probe")


def release_memory() -> None:
    """Give freed memory back to the system: glibc keeps a replaced model's for ever otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
