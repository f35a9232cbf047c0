"""Model files whose bytes are a function of the weights alone.

torch's tracing exporter writes them: a few hundredths of a second once it is warm, the same bytes in every folder and
process (the newer one takes seconds and writes source paths into the file). `tests/trainers` holds the file against
the network that it came from.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import onnx
import torch

from supervisor.contract import Interface
from trainers.learner import Exported

OPSET = 17
IR_VERSION = 8  # what opset 17 came with: read by every runtime of the last years
PRODUCER = "incumbent"
BATCH = "batch"
EXAMPLE_ROWS = 2  # of one row the tracer would take the batch for a constant


def onnx_bytes(exported: Exported) -> bytes:
    """The network as an ONNX file; the first dimension of everything is the batch and is free."""
    example = tuple(torch.zeros(EXAMPLE_ROWS, *shape) for shape in exported.inputs.values())
    names = [*exported.inputs, *exported.outputs]
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracing exporter itself; torch is pinned
        torch.onnx.export(
            exported.network,
            example,
            cast(Any, stream),  # its type names paths only, the tracing exporter takes streams as well
            dynamo=False,
            opset_version=OPSET,
            input_names=list(exported.inputs),
            output_names=list(exported.outputs),
            dynamic_axes={name: {0: BATCH} for name in names},
        )
    model = onnx.load_from_string(stream.getvalue())
    _name(model)
    _shape(model.graph.output, exported.outputs)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def on_cpu(exported: Exported) -> Exported:
    """Where it is exported and compared with its file; what trains stays where it is."""
    if all(own.device.type == "cpu" for own in exported.network.state_dict().values()):
        return exported
    return replace(exported, network=copy.deepcopy(exported.network).cpu())


def interface(exported: Exported) -> Interface:
    """Names and shapes of the file that `onnx_bytes` writes."""
    return Interface(_with_batch(exported.inputs), _with_batch(exported.outputs))


def _with_batch(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {name: (0, *shape) for name, shape in shapes.items()}


def _name(model: onnx.ModelProto) -> None:
    """Nothing in the file depends on the versions of the libraries that wrote it."""
    model.producer_name, model.producer_version, model.ir_version = PRODUCER, "", IR_VERSION
    model.graph.name = "network"
    del model.metadata_props[:]
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
        node.doc_string = ""
        del node.metadata_props[:]


def _shape(values: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """The outputs' sizes, where the tracer left one open."""
    for value in values:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(list(dims)[1:], shapes[value.name], strict=True):
            dim.ClearField("dim_param")
            dim.dim_value = size
