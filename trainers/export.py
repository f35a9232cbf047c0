"""Model files whose bytes are a function of the weights alone.

A multilayer perceptron is written node by node (Gemm, Relu) and not traced: a tracing exporter takes about a second and
writes source paths into the file, this takes milliseconds and writes nothing but the graph. `difference` checks the
file against the network that it came from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from supervisor.contract import Interface

OPSET = 17
IR_VERSION = 8  # what opset 17 came with: read by every runtime of the last years
PRODUCER = "incumbent"
BATCH = "batch"


def mlp_bytes(layers: Sequence[tuple[Tensor, Tensor]], input_name: str, output_name: str) -> bytes:
    """An ONNX file of linear layers with ReLU between them: float32 [batch, in] -> float32 [batch, out].

    `layers` are (weight [out, in], bias [out]) in the order of the data.
    """
    nodes, weights = [], []
    value = input_name
    for number, (weight, bias) in enumerate(layers):
        last = number == len(layers) - 1
        result = output_name if last else f"layer_{number}"
        weights += [_constant(f"weight_{number}", weight), _constant(f"bias_{number}", bias)]
        nodes.append(helper.make_node("Gemm", [value, f"weight_{number}", f"bias_{number}"], [result], transB=1))
        value = result
        if not last:
            value = f"{result}_relu"
            nodes.append(helper.make_node("Relu", [result], [value]))
    graph = helper.make_graph(
        nodes,
        "q_network",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [BATCH, layers[0][0].shape[1]])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, [BATCH, layers[-1][0].shape[0]])],
        initializer=weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name=PRODUCER
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _constant(name: str, value: Tensor) -> TensorProto:
    array: NDArray[np.float32] = np.ascontiguousarray(value.cpu().numpy(), np.float32)
    return numpy_helper.from_array(array, name)


def interface(layers: Sequence[tuple[Tensor, Tensor]], input_name: str, output_name: str) -> Interface:
    """Names and shapes of the file that `mlp_bytes` writes."""
    return Interface({input_name: (0, layers[0][0].shape[1])}, {output_name: (0, layers[-1][0].shape[0])})
