"""What models run on: the CPU, or the GPU where onnxruntime can use it. Found out and decided once, at the start.

A provider that is on onnxruntime's list may still not load, and onnxruntime then takes the CPU without a word: so the
smallest session there is runs first.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from supervisor.execution.gpu import Gpu
from supervisor.serving.gpu_room import MIB, Room, serving_bytes
from supervisor.serving.options import ProviderAsked

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True)
class Found:
    """What this machine has. `gpu_bytes`: None without a GPU. `problem`: why CUDA cannot be used, None where it can."""

    gpu_bytes: int | None
    problem: str | None


@dataclass(frozen=True)
class Choice:
    """`warning`: what the operator must know, None where all is as asked."""

    provider: str
    warning: str | None = None


def choose(asked: ProviderAsked, found: Found) -> Choice:
    """A machine without a GPU is no news unless CUDA was asked for; a GPU that cannot be used always is."""
    if asked == "cpu":
        return Choice(CPU)
    if found.problem is None:
        return Choice(CUDA)
    if asked == "cuda":
        return Choice(CPU, f"serving on the CPU though serving.provider is cuda: {found.problem}")
    if found.gpu_bytes is not None:
        return Choice(CPU, f"serving on the CPU though there is a GPU: {found.problem}; serving.provider: cpu says so")
    return Choice(CPU)


def room_for(asked: ProviderAsked, fraction: float, announce: Callable[[str], None]) -> Room | None:
    """The GPU's memory that sessions may take, `fraction` of it; None for the CPU. A warning is announced."""
    found = Found(None, "not asked for") if asked == "cpu" else find()
    choice = choose(asked, found)
    if choice.warning is not None:
        announce(choice.warning)
    if choice.provider == CPU:
        return None
    assert found.gpu_bytes is not None
    return Room(serving_bytes(found.gpu_bytes, fraction))


def find() -> Found:
    """Looks at the GPU, and has CUDA run something where there is one."""
    if CUDA not in onnxruntime.get_available_providers():
        return Found(None, "this onnxruntime is built without CUDA; install onnxruntime-gpu")
    said: list[str] = []
    gpu = Gpu.find(said.append)
    use = gpu.use() if gpu is not None else None
    if use is None:
        return Found(None, (said or ["no GPU"])[0].removesuffix(": training and serving on the CPU"))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
        onnxruntime.preload_dlls()
    return Found(use.total_mb * MIB, _problem())


def _problem() -> str | None:
    """Why CUDA does not run, None where it does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(_smallest(), options, providers=[CUDA, CPU], enable_fallback=False)
        if session.get_providers()[0] != CUDA:
            return _missing_library() or "onnxruntime does not load its CUDA provider"
        session.run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:  # the runtime's errors have no common class
        return (str(error).splitlines() or [type(error).__name__])[0][:300]
    return None


def _smallest() -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "graph", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def _missing_library() -> str | None:
    """onnxruntime keeps the loader's words to itself."""
    own = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    for library in ("libcuda.so.1", str(own)):
        try:
            ctypes.CDLL(library)
        except OSError as error:
            return str(error)[:300]
    return None
