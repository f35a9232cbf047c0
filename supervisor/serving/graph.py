"""Checks of a model file before any of it runs: only known operators, all bytes inside, every size known and bounded.

A file that passes cannot read other files, cannot loop (no operator with a body is known) and cannot ask for more
memory or work than the limits below at the largest batch: the sizes of all its tensors are inferred here, from shapes
alone. The checks come in an order in which each makes the next one safe: the bytes are counted before a parser sees
them, and sizes are inferred one by one, so that the first that is too large ends it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from supervisor.serving.errors import refused
from supervisor.serving.sizes import INTEGERS, Numbers, Step, constant_values, shape_values, steps

MAX_NODES = 5000
MAX_TENSOR_MB = 256
MAX_TOTAL_MB = 4096  # of all tensors between the operators together
MAX_FIELDS = 200_000  # of the file beside its weights: a parser makes a hundred bytes of a field of two
MAX_STRUCTURE_MB = 8  # of the file beside its weights
MAX_OPERATOR_GFLOP = 10  # at the largest batch: the runtime lets go between two operators, not within one
MAX_TOTAL_GFLOP = 400  # at the largest batch: several seconds of a core

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
# What picks from a list of numbers, its first input, without calculating.
_PICKING = frozenset("Gather Identity Slice Squeeze Unsqueeze".split())  # noqa: SIM905

# The messages that are read field by field, and the fields of theirs that are; all others count as a whole.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 11: "ValueInfoProto", 12: "ValueInfoProto", 13: "ValueInfoProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {5: "TensorProto", 10: "TensorProto"},
    "TensorProto": {},
    "ValueInfoProto": {},
}
_WEIGHT_FIELDS = frozenset({4, 9})  # float_data and raw_data of a TensorProto: as large in memory as in the file
_FIXED_BYTES: Mapping[int, int] = {1: 8, 5: 4}  # wire types of fixed size

# Rough costs of one element of an operator's output, in floating-point operations.
_SLOW = frozenset(
    """
    Celu Cos Div Elu Erf Exp Gelu HardSwish LayerNormalization Log LogSoftmax Mish Pow RMSNormalization Selu Sigmoid Sin
    Softmax Softplus Softsign Sqrt Swish Tanh
    """.split()  # noqa: SIM905
)
_SLOW_FLOP, _QUICK_FLOP = 500, 20


def check_model(data: bytes, max_rows: int) -> float:
    """The MB of all tensors between the operators together at `max_rows`, the largest batch ever run. Raises Refused
    saying what in the file is not allowed."""
    _check_structure(data)
    try:
        model = ModelProto.FromString(data)
    except Exception as error:  # protobuf's DecodeError, which comes without types
        raise refused("not_onnx", f"not an ONNX file, or a damaged one: {error}") from error
    _check_parts(model)
    for tensor in _tensors(model):
        _check_tensor(tensor)
    sizes = [_check_sizes(model, rows) for rows in _batches(model, max_rows)]
    _check_row_counts(model, [numbers for numbers, _ in sizes])
    return max(total_mb for _, total_mb in sizes)


def _check_structure(data: bytes) -> None:
    """Counts what the file holds beside its weights, by protobuf's wire format and without making anything of it."""
    fields = structure_bytes = 0
    parts = [("ModelProto", 0, len(data))]
    while parts:
        message, position, end = parts.pop()
        while position < end:
            key, position = _varint(data, position, end)
            number, wire_type = key >> 3, key & 7
            start = position
            if wire_type == 0:
                _, position = _varint(data, position, end)
            elif wire_type == 2:
                length, start = _varint(data, position, end)
                position = start + length
                inner = _MESSAGES[message].get(number)
                if inner is not None:
                    parts.append((inner, start, min(position, end)))
                elif message != "TensorProto" or number not in _WEIGHT_FIELDS:
                    structure_bytes += length
            elif wire_type in _FIXED_BYTES:
                position += _FIXED_BYTES[wire_type]
            else:
                raise refused("not_onnx", "not an ONNX file, or a damaged one: a field of no known kind")
            if position > end:
                raise refused("not_onnx", "not an ONNX file, or a damaged one: it ends within a field")
            fields += 1
            if fields > MAX_FIELDS or structure_bytes > MAX_STRUCTURE_MB * 2**20:
                raise refused(
                    "too_large",
                    f"beside its weights the file holds more than {MAX_FIELDS} fields or {MAX_STRUCTURE_MB} MB",
                )


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise refused("not_onnx", "not an ONNX file, or a damaged one: it ends within a number")


def _check_parts(model: ModelProto) -> None:
    graph = model.graph
    if not graph.node:
        raise refused("not_onnx", "the file holds no graph")
    if len(graph.node) > MAX_NODES:
        raise refused("too_large", f"{len(graph.node)} operators, at most {MAX_NODES} are served")
    if len(model.opset_import) != 1:  # of several versions of one set nobody could say which is meant
        raise refused("unknown_operator", f"the file names {len(model.opset_import)} operator sets, it must be one")
    domains = {opset.domain for opset in model.opset_import} - {"", "ai.onnx"}
    if domains or model.functions or model.training_info:
        raise refused("unknown_operator", f"operator sets or functions of its own: {sorted(domains) or 'functions'}")
    if graph.sparse_initializer:
        raise refused("sparse_weights", "sparse weights are not served")
    made = [name for node in graph.node for name in node.output if name]
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    if len(given.union(made)) < len(given) + len(made) or len(graph.output) > len({v.name for v in graph.output}):
        raise refused("damaged", "two of its tensors have the same name")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise refused(
                "unknown_operator", f"operator {_label(node)} is not on the list of operators that are served"
            )
        for attribute in node.attribute:
            _check_attribute(node, attribute)
        if node.op_type == "Dropout" and any(node.input[2:]):
            raise refused("unknown_operator", "Dropout with a training mode answers by chance; export with eval()")


def _check_attribute(node: NodeProto, attribute: AttributeProto) -> None:
    """Looks at what is there, not at the type that the attribute says it has."""
    if attribute.HasField("g") or attribute.graphs or attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        raise refused("unknown_operator", f"operator {_label(node)} carries a graph of its own")
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
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


def _check_row_counts(model: ModelProto, at_batches: Sequence[Mapping[str, Numbers]]) -> None:
    """Follows the number of rows, which an operator Shape tells, to where it is used: into shapes and nowhere else.

    On its way it may be picked, put together and multiplied or added with what is not negative, so no size goes up and
    down with it: what is small enough at the largest batch and at a single row is so between them.
    """
    natural = {tensor.name for tensor in model.graph.initializer if _is_natural(shape_values(tensor))}
    counts: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Constant" and _is_natural(constant_values(node)):
            natural.update(node.output)
        counted = [position for position, name in enumerate(node.input) if name in counts]
        if node.op_type == "Reshape" and counted == [1]:
            continue
        if counted and not _passes_on(node, counted, natural | counts):
            raise refused("shapes", f"operator {_label(node)} calculates with the size of a batch; it may only reshape")
        if counted or node.op_type == "Shape":
            counts.update(name for name in node.output if not _is_fixed([at.get(name) for at in at_batches]))


def _passes_on(node: NodeProto, counted: Sequence[int], natural: set[str]) -> bool:
    """Whether the operator may have numbers of rows as these inputs."""
    if node.op_type == "Cast":
        return any(attribute.name == "to" and attribute.i in INTEGERS for attribute in node.attribute)
    if node.op_type in ("Add", "Mul"):
        return natural.issuperset(node.input)
    return node.op_type == "Concat" or (node.op_type in _PICKING and counted == [0])


def _is_fixed(values: Sequence[Numbers | None]) -> bool:
    """Whether the numbers are the same for every batch, such as the width of a layer that is read from a shape."""
    first = values[0]
    return first is not None and all(value is not None and np.array_equal(first, value) for value in values)


def _is_natural(values: Numbers | None) -> bool:
    return values is not None and bool((values >= 0).all())


def _batches(model: ModelProto, max_rows: int) -> list[int]:
    """The batches to infer all sizes at: where no operator asks for a shape, none is larger than at the largest."""
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return [max_rows]
    return sorted({1, math.isqrt(max_rows), max_rows})


def _check_sizes(model: ModelProto, rows: int) -> tuple[dict[str, Numbers], float]:
    """Answers what is known of the numbers that decide shapes, and the MB of all tensors together."""
    numbers: dict[str, Numbers] = {}
    total_mb = total_gflop = 0.0
    for step in steps(model, rows):
        for name in filter(None, step.node.output):
            size_mb = _size_mb(name, step.made.get(name))
            total_mb += size_mb
            if size_mb > MAX_TENSOR_MB or total_mb > MAX_TOTAL_MB:
                raise refused(
                    "too_large",
                    f"the output {name[:100]!r} of {_label(step.node)} needs {size_mb:.0f} MB at a batch of {rows}"
                    f" (all up to it {total_mb:.0f}); served are at most {MAX_TENSOR_MB} (all {MAX_TOTAL_MB})",
                )
        if step.numbers is not None:
            numbers[step.node.output[0]] = step.numbers
        gflop = _gflop(step)
        total_gflop += gflop
        if gflop > MAX_OPERATOR_GFLOP or total_gflop > MAX_TOTAL_GFLOP:
            raise refused(
                "too_slow",
                f"{_label(step.node)} takes {gflop:.0f} GFLOP at a batch of {rows} (all up to it {total_gflop:.0f});"
                f" served are at most {MAX_OPERATOR_GFLOP} (all {MAX_TOTAL_GFLOP})",
            )
    return numbers, total_mb


def _gflop(step: Step) -> float:
    """What the operator has to calculate, roughly and rather too much: it reads its inputs and makes its outputs."""
    made = sum(map(_elements, step.made.values()))
    flop = made * (_SLOW_FLOP if step.node.op_type in _SLOW else _QUICK_FLOP)
    flop += sum(map(_elements, step.read.values())) * _QUICK_FLOP
    if step.node.op_type in ("MatMul", "Gemm"):
        sizes = [int(dim.dim_value) for dim in step.read[step.node.input[0]].shape.dim]
        transposed = any(attribute.name == "transA" and attribute.i for attribute in step.node.attribute)
        flop += 2 * made * (sizes[0] if transposed else sizes[-1])
    return flop / 1e9


def _elements(tensor_type: onnx.TypeProto.Tensor) -> int:
    return math.prod(int(dim.dim_value) for dim in tensor_type.shape.dim)


def _size_mb(name: str, tensor_type: onnx.TypeProto.Tensor | None) -> float:
    dims: Sequence[Any] = tensor_type.shape.dim if tensor_type is not None and tensor_type.HasField("shape") else ()
    known = tensor_type is not None and tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
    if tensor_type is None or not known or any(dim.dim_value < 0 for dim in dims):
        raise refused("shapes", f"the size of {name[:100]!r} does not follow from the model's inputs")
    if tensor_type.elem_type not in _ELEMENT_TYPES:
        raise refused("element_type", f"{name[:100]!r} has element type {tensor_type.elem_type}, which is not served")
    item_bytes = int(helper.tensor_dtype_to_np_dtype(tensor_type.elem_type).itemsize)
    return _elements(tensor_type) * item_bytes / 2**20
