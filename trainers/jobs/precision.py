"""Model files in other forms: half precision inside, graphs that onnxruntime has simplified."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import onnxruntime
from onnx import GraphProto, ModelProto
from onnxruntime.transformers.float16 import convert_float_to_float16

STANDARD = ("", "ai.onnx")


def halved(model: bytes) -> bytes:
    """Weights and arithmetic in FP16. Inputs and outputs stay FP32, so that it is asked as before; ids up to 2,048 are
    whole numbers in FP16 too.

    On a CPU the runtime widens what it computes, so that only the weights are rounded; a GPU rounds every layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of every weight that FP16 rounds to its smallest or largest number
        converted = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True)
    _order(converted.graph)
    return _bytes(converted)


def simplified(model: bytes) -> bytes:
    """The graph after the runtime's basic optimizations: constants folded, what does nothing left out.

    Raises ValueError where an operator came of it that not every runtime has.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        written = onnx.load(path)
    strange = sorted({f"{node.domain}:{node.op_type}" for node in written.graph.node if node.domain not in STANDARD})
    if strange:
        raise ValueError(f"the optimized graph has operators of its own: {', '.join(strange)}")
    known = [opset for opset in written.opset_import if opset.domain in STANDARD]
    del written.opset_import[:]
    written.opset_import.extend(known)
    before = onnx.load_from_string(model)
    written.producer_name, written.ir_version = before.producer_name, before.ir_version
    written.producer_version = ""
    del written.metadata_props[:]
    return _bytes(written)


def _order(graph: GraphProto) -> None:
    """Every node behind those that it needs, else as they were: the converter appends its casts at the end."""
    waiting, known = list(graph.node), {value.name for value in (*graph.input, *graph.initializer)} | {""}
    del graph.node[:]
    while waiting:
        ready = waiting.pop(next(at for at, node in enumerate(waiting) if known.issuperset(node.input)))
        known.update(ready.output)
        graph.node.append(ready)


def _bytes(model: ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
