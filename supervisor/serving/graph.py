"""Checks of a model file before any of it runs: only known operators, all bytes inside, every size known and bounded.

A file that passes cannot read other files, cannot loop (no operator with a body is known) and cannot ask for more
memory than the limits below at the largest batch: the sizes of all its tensors are inferred here, from shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from supervisor.serving.errors import refused

MAX_NODES = 10_000
MAX_TENSOR_MB = 256
MAX_TOTAL_MB = 4096  # of all tensors between the operators together

# Every operator whose output sizes follow from its input shapes and constants, and that takes no sub-graph.
OPERATORS = frozenset(
    """
    Abs Add And ArgMax ArgMin BatchNormalization Cast Ceil Celu Clip Concat Constant Cos Div Dropout Elu Equal Erf Exp
    Flatten Floor Gather Gelu Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mish Mul Neg Not Or Pow PRelu RMSNormalization Reciprocal
    ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Selu Shape Sigmoid Sign Sin Slice Softmax Softplus
    Softsign Split Sqrt Squeeze Sub Sum Swish Tanh Transpose Unsqueeze Where
    """.split()  # noqa: SIM905 - seventy quoted names would hide the list
)

_ELEMENT_TYPES = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
)
_SHAPE_CONSTANT_ELEMENTS = 256  # constants up to this size may decide shapes; larger ones are weights


def check_model(data: bytes, max_rows: int) -> None:
    """Raises Refused saying what in the file is not allowed. `max_rows` is the largest batch ever run."""
    try:
        model = ModelProto.FromString(data)
    except Exception as error:  # protobuf's DecodeError, which comes without types
        raise refused("not_onnx", f"not an ONNX file, or a damaged one: {error}") from error
    _check_parts(model)
    for tensor in _tensors(model):
        _check_tensor(tensor)
    _check_sizes(_skeleton(model, max_rows))


def _check_parts(model: ModelProto) -> None:
    graph = model.graph
    if not graph.node:
        raise refused("not_onnx", "the file holds no graph")
    if len(graph.node) > MAX_NODES:
        raise refused("too_large", f"{len(graph.node)} operators, at most {MAX_NODES} are served")
    domains = {opset.domain for opset in model.opset_import} - {"", "ai.onnx"}
    if domains or model.functions or model.training_info:
        raise refused("unknown_operator", f"operator sets or functions of its own: {sorted(domains) or 'functions'}")
    if graph.sparse_initializer:
        raise refused("sparse_weights", "sparse weights are not served")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise refused(
                "unknown_operator", f"operator {_label(node)} is not on the list of operators that are served"
            )
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                raise refused("unknown_operator", f"operator {_label(node)} carries a graph of its own")
            if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
                raise refused("sparse_weights", f"operator {_label(node)} carries a sparse constant")


def _label(node: NodeProto) -> str:
    return f"{node.domain + ':' if node.domain else ''}{node.op_type}"[:100]


def _tensors(model: ModelProto) -> Iterable[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: TensorProto) -> None:
    name = tensor.name[:100]
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise refused("external_data", f"tensor {name!r} lies in another file; a model is one file")
    if tensor.data_type not in _ELEMENT_TYPES:
        raise refused("element_type", f"tensor {name!r} has element type {tensor.data_type}, which is not served")
    elements = math.prod(tensor.dims)
    if any(size < 0 for size in tensor.dims) or _stored_elements(tensor) != elements:
        raise refused("damaged", f"tensor {name!r} declares {list(tensor.dims)} and holds other than {elements} values")
    if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16) and not np.isfinite(_values(tensor)).all():
        raise refused("not_finite", f"tensor {name!r} holds NaN or infinite values")


def _stored_elements(tensor: TensorProto) -> int:
    if tensor.HasField("raw_data"):
        item_bytes = int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        whole, rest = divmod(len(tensor.raw_data), item_bytes)
        return whole if rest == 0 else -1
    return len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))


def _values(tensor: TensorProto) -> np.ndarray[Any, np.dtype[Any]]:
    return np.asarray(numpy_helper.to_array(tensor))


def _skeleton(model: ModelProto, max_rows: int) -> ModelProto:
    """The model with its batch fixed at `max_rows`, without what its author says about sizes, without its weights."""
    skeleton = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    graph = skeleton.graph
    graph.name = "skeleton"
    graph.node.extend(model.graph.node)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in weights:
            continue
        graph.input.add().CopyFrom(value)
        shape = graph.input[-1].type.tensor_type.shape
        if not shape.dim or shape.dim[0].HasField("dim_value"):
            raise refused("interface", f"input {value.name[:100]!r} has no free batch dimension")
        shape.dim[0].Clear()
        shape.dim[0].dim_value = max_rows
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SHAPE_CONSTANT_ELEMENTS:
            graph.initializer.add().CopyFrom(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    for value in model.graph.output:
        graph.output.append(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, None))
    return skeleton


def _check_sizes(skeleton: ModelProto) -> None:
    try:
        inferred = shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # the library raises its own error, ValueError, RuntimeError and others
        raise refused("shapes", f"the shapes do not fit together: {str(error).strip()[:300]}") from error
    known = {value.name: value.type.tensor_type for value in (*inferred.graph.value_info, *inferred.graph.output)}
    total_mb = 0.0
    for node in skeleton.graph.node:
        for name in node.output:
            if not name:
                continue
            size_mb = _size_mb(name, known.get(name))
            total_mb += size_mb
            if size_mb > MAX_TENSOR_MB or total_mb > MAX_TOTAL_MB:
                raise refused(
                    "too_large",
                    f"the output {name[:100]!r} of {_label(node)} needs {size_mb:.0f} MB at the largest batch"
                    f" (all up to it {total_mb:.0f}); served are at most {MAX_TENSOR_MB} (all {MAX_TOTAL_MB})",
                )


def _size_mb(name: str, tensor_type: onnx.TypeProto.Tensor | None) -> float:
    dims: Sequence[Any] = tensor_type.shape.dim if tensor_type is not None and tensor_type.HasField("shape") else ()
    known = tensor_type is not None and tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
    if tensor_type is None or not known or any(dim.dim_value < 0 for dim in dims):
        raise refused("shapes", f"the size of {name[:100]!r} does not follow from the model's inputs")
    if tensor_type.elem_type not in _ELEMENT_TYPES:
        raise refused("element_type", f"{name[:100]!r} has element type {tensor_type.elem_type}, which is not served")
    item_bytes = int(helper.tensor_dtype_to_np_dtype(tensor_type.elem_type).itemsize)
    return math.prod(int(dim.dim_value) for dim in dims) * item_bytes / 2**20
