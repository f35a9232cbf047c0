"""The sizes of all tensors of a model at one batch, inferred operator by operator and from shapes alone.

The library's own inference over a whole graph calculates with every list of numbers in it, weights included: a file of
a few kB keeps it busy for minutes. Here only whole numbers that may decide shapes are calculated, and few of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper, shape_inference

from supervisor.serving.errors import refused

MAX_SHAPE_VALUES = 256  # numbers in one tensor that may decide shapes; larger tensors are weights
INTEGERS = frozenset({TensorProto.INT32, TensorProto.INT64})

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One operator with the types of what it reads and of what it makes, by name, and its output where that is a list
    of numbers known already."""

    node: NodeProto
    read: Mapping[str, TypeProto.Tensor]
    made: Mapping[str, TypeProto.Tensor]
    numbers: Numbers | None


def steps(model: ModelProto, rows: int) -> Iterator[Step]:
    """Operator by operator in the file's order, with the batch fixed. Raises Refused where shapes do not fit."""
    versions = {"ai.onnx" if not opset.domain else opset.domain: opset.version for opset in model.opset_import}
    opset = [helper.make_opsetid("", versions.get("ai.onnx", 0))]
    types = {tensor.name: helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
             for tensor in model.graph.initializer}  # fmt: skip
    types.update({value.name: _input(value, rows) for value in model.graph.input if value.name not in types})
    numbers = {tensor.name: value for tensor in model.graph.initializer if (value := shape_values(tensor)) is not None}
    for node in model.graph.node:
        read = {name: types[name] for name in node.input if name in types}
        made = _large_constant(node)
        if made is None:
            made = _inferred(node, opset, read, numbers)
        types.update(made)
        value = _calculated(node, read, numbers)
        if value is not None and value.size > MAX_SHAPE_VALUES:
            value = None
        if value is not None:
            numbers[node.output[0]] = value
        yield Step(node, _tensors(read), _tensors(made), value)


def shape_values(tensor: TensorProto) -> Numbers | None:
    """The numbers of a constant that may decide shapes, None of one that may not."""
    if tensor.data_type not in INTEGERS or len(tensor.dims) > 1 or math.prod(tensor.dims) > MAX_SHAPE_VALUES:
        return None
    return np.asarray(numpy_helper.to_array(tensor)).astype(np.int64)


def constant_values(node: NodeProto) -> Numbers | None:
    """The same of a Constant."""
    attribute = node.attribute[0] if len(node.attribute) == 1 else onnx.AttributeProto()
    if attribute.name == "value":
        return shape_values(attribute.t)
    if attribute.name == "value_int":
        return np.asarray(attribute.i, np.int64)
    return np.asarray(attribute.ints, np.int64) if attribute.name == "value_ints" else None


def _input(value: onnx.ValueInfoProto, rows: int) -> TypeProto:
    found = TypeProto()
    found.CopyFrom(value.type)
    shape = found.tensor_type.shape
    if not shape.dim or shape.dim[0].HasField("dim_value"):
        raise refused("interface", f"input {value.name[:100]!r} has no free batch dimension")
    shape.dim[0].Clear()
    shape.dim[0].dim_value = rows
    return found


def _tensors(types: Mapping[str, TypeProto]) -> dict[str, TypeProto.Tensor]:
    return {name: found.tensor_type for name, found in types.items()}


def _large_constant(node: NodeProto) -> dict[str, TypeProto] | None:
    """The type of a Constant of a weight's size, which is not worth copying to the library."""
    held = [attribute.t for attribute in node.attribute if attribute.HasField("t")]
    if node.op_type != "Constant" or len(held) != 1 or math.prod(held[0].dims) <= MAX_SHAPE_VALUES:
        return None
    return dict.fromkeys(node.output, helper.make_tensor_type_proto(held[0].data_type, held[0].dims))


def _inferred(
    node: NodeProto, opset: list[Any], read: Mapping[str, TypeProto], numbers: Mapping[str, Numbers]
) -> dict[str, TypeProto]:
    data = {name: numpy_helper.from_array(numbers[name], name) for name in node.input if name in numbers}
    for name, tensor in data.items():
        if read[name].tensor_type.elem_type == TensorProto.INT32:
            data[name] = numpy_helper.from_array(numbers[name].astype(np.int32), name)
        assert tensor.name == name
    try:
        schema = onnx.defs.get_schema(node.op_type, opset[0].version, "")
        return dict(shape_inference.infer_node_outputs(schema, node, dict(read), data, opset_imports=opset))
    except Exception as error:  # the library raises its own errors, ValueError, KeyError and others
        text = str(error).strip()[:300]
        raise refused("shapes", f"the shapes do not fit together at {node.op_type}: {text}") from error


def _calculated(node: NodeProto, read: Mapping[str, TypeProto], numbers: Mapping[str, Numbers]) -> Numbers | None:
    """What the operator answers where that is a list of numbers known from shapes and constants, else None."""
    if node.op_type == "Constant":
        return constant_values(node)
    if node.op_type == "Shape":
        dims = [dim.dim_value for dim in read[node.input[0]].tensor_type.shape.dim]
        return np.asarray(dims[_integer(node, "start", 0) : _integer(node, "end", len(dims))], np.int64)
    calculate = _CALCULATED.get(node.op_type)
    given = [numbers[name] for name in node.input if name in numbers]
    if calculate is None or not given or len(given) != len(node.input):
        return None
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(calculate(node, given))
    except (ValueError, IndexError, TypeError):
        return None  # so its size is not known, and whoever needs it is refused
    return value.astype(np.int64) if value.ndim <= 1 else None


def _integer(node: NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _cast(node: NodeProto, given: list[Numbers]) -> Numbers:
    if _integer(node, "to", 0) not in INTEGERS:
        raise ValueError("no whole numbers")
    return given[0]


def _slice(_: NodeProto, given: list[Numbers]) -> Numbers:
    data, starts, ends, *rest = given
    axes, by = (*(int(value[0]) for value in rest), *(0, 1)[len(rest) :])
    if axes not in (0, -1) or by != 1 or data.ndim != 1:
        raise ValueError("not along the list")
    return data[int(starts[0]) : int(ends[0])]


def _squeeze(_: NodeProto, given: list[Numbers]) -> Numbers:
    return given[0].reshape(()) if given[0].size == 1 else given[0]


_CALCULATED: Mapping[str, Callable[[NodeProto, list[Numbers]], Any]] = {
    "Add": lambda _, given: np.add(*given),
    "Cast": _cast,
    "Concat": lambda _, given: np.concatenate(given),
    "Gather": lambda _, given: np.take(given[0], given[1], axis=0),
    "Identity": lambda _, given: given[0],
    "Mul": lambda _, given: np.multiply(*given),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": lambda _, given: np.subtract(*given),
    "Unsqueeze": lambda _, given: given[0].reshape(1) if given[0].ndim == 0 else given[0][None],
}
