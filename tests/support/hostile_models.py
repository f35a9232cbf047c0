"""Model files by somebody who may write into the models folder: each is refused, or the server is in trouble."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper

from tests.support import onnx_models as models
from tests.support.onnx_models import tensor, with_nodes


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf's wire format."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def added(nodes: Sequence[NodeProto], scalar: str, weights: Sequence[TensorProto] = ()) -> bytes:
    """state + the largest value of the tensor `scalar`, which the nodes make."""
    return with_nodes(
        *nodes,
        helper.make_node("ReduceMax", [scalar], ["largest"], keepdims=0),
        helper.make_node("Add", ["state", "largest"], ["x"]),
        weights=weights,
    )


def standard(operator: str, *inputs: str, **attributes: object) -> bytes:
    """One operator of the standard set between the state and the answer, with the constants that it may ask for."""
    node = helper.make_node(operator, list(inputs) or ["state"], ["x"], **attributes)
    constants = {"huge": [1 << 20, 1 << 20], "zero": 0, "one": 1, "many": 1 << 40, "scales": [1.0, 1e6]}
    weights = [
        tensor(name, value, np.float32 if name == "scales" else np.int64)
        for name, value in constants.items()
        if name in inputs
    ]
    return with_nodes(node, weights=weights)


def sub_graph(operator: str, attribute: str) -> bytes:
    """An operator with a body whose weights lie in another file."""
    outside = onnx.load_from_string(models.external_weights("/etc/passwd")).graph
    return with_nodes(helper.make_node(operator, ["state"], ["x"], **{attribute: outside}))


def hidden_graph_without_a_type() -> bytes:
    """The attribute has a graph and says that it is a number."""
    node = helper.make_node("Identity", ["state"], ["x"])
    node.attribute.add(name="body", type=AttributeProto.INT).g.name = "hidden"
    return with_nodes(node)


def edited_external(place: str) -> bytes:
    """Weights in another file, in every place of a file where a tensor can stand."""
    outside = onnx.load_from_string(models.external_weights("secret.bin")).graph.initializer[-1]
    parsed = onnx.load_from_string(models.mlp())
    node = parsed.graph.node[0]
    match place:
        case "training":
            parsed.training_info.add().algorithm.initializer.append(outside)
        case "function":
            node = parsed.functions.add(name="f", domain="own").node.add(op_type="Constant")
            node.attribute.add(name="value", type=AttributeProto.TENSOR).t.CopyFrom(outside)
        case "list":
            node.attribute.add(name="more", type=AttributeProto.TENSORS).tensors.append(outside)
        case "sparse":
            parsed.graph.sparse_initializer.add(dims=[models.STATE]).values.CopyFrom(outside)
        case "sparse constant":
            sparse = node.attribute.add(name="sparse", type=AttributeProto.SPARSE_TENSOR).sparse_tensor
            sparse.values.CopyFrom(outside)
    return parsed.SerializeToString()


def shadowing_function() -> bytes:
    """A function of the file's own with a standard operator's name and domain."""
    parsed = onnx.load_from_string(models.mlp())
    function = parsed.functions.add(name="Relu", domain="", input=["a"], output=["b"])
    function.node.add(op_type="Identity", input=["a"], output=["b"])
    return parsed.SerializeToString()


def many_nodes(count: int) -> bytes:
    return models.mlp() + field(7, b"\x0a\x00" * count)


def many_unknown_fields(count: int) -> bytes:
    return models.mlp() + b"\xfa\x07\x00" * count


def packed_numbers(count: int) -> bytes:
    """A byte each in the file and eight in memory."""
    head = TensorProto(name="packed", data_type=TensorProto.INT64, dims=[count]).SerializeToString()
    return models.mlp() + field(7, field(5, head + field(7, b"\x01" * count)))


def deep_graphs(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = field(1, field(5, field(6, content)))
    return field(7, content)


def long_name(characters: int) -> bytes:
    return with_nodes(helper.make_node("Identity", ["state"], ["x"], name="n" * characters))


def shape_doubling(times: int) -> bytes:
    """A list of whole numbers that doubles: whoever infers shapes calculates with it."""
    nodes = [helper.make_node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(times)]
    nodes.append(helper.make_node("Cast", [f"c{times}"], ["f"], to=TensorProto.FLOAT))
    return added(nodes, "f", [tensor("c0", np.ones(256), np.int64)])


def one_long_product(size: int) -> bytes:
    """One operator that takes many seconds, in which the runtime does not look up."""
    return added(
        [helper.make_node("MatMul", ["c", "c"], ["d"])], "d", [tensor("c", np.full((size, size), 1e-4, np.float32))]
    )


def slow_functions(count: int) -> bytes:
    """Slow functions of many numbers, which are made from few."""
    nodes = [helper.make_node("MatMul", ["column", "row"], ["f0"])]
    nodes += [helper.make_node("Erf", [f"f{i}"], [f"f{i + 1}"]) for i in range(count)]
    weights = [tensor("column", np.ones((4000, 1))), tensor("row", np.ones((1, 4000)))]
    return added(nodes, f"f{count}", weights)


def huge_at_few_rows(each: int = 390) -> bytes:
    """Small at the largest batch of 256 and 40 GB at a single row: 256 less the number of rows becomes a size."""
    nodes = [
        helper.make_node("Shape", ["state"], ["rows"], start=0, end=1),
        helper.make_node("Sub", ["most", "rows"], ["missing"]),
        helper.make_node("Mul", ["missing", "each"], ["more"]),
        helper.make_node("Add", ["more", "one"], ["end"]),
        helper.make_node("Slice", ["long", "zero", "end"], ["part"]),
        helper.make_node("Unsqueeze", ["part", "zero"], ["row"]),
        helper.make_node("Unsqueeze", ["part", "one"], ["column"]),
        helper.make_node("Mul", ["column", "row"], ["square"]),
    ]
    numbers = {"most": [256], "each": [each], "one": [1], "zero": [0]}
    weights = [tensor(name, value, np.int64) for name, value in numbers.items()]
    return added(nodes, "square", [*weights, tensor("long", np.ones(100_000))])


def falling_size() -> bytes:
    """The same with sizes that would do, at the batches that one could think of looking at."""
    return huge_at_few_rows(each=1)


def two_standard_versions() -> bytes:
    parsed = onnx.load_from_string(models.mlp())
    parsed.opset_import.add(domain="ai.onnx", version=7)
    return parsed.SerializeToString()


def by_table_of_rows() -> bytes:
    """Looks up in a table, by the number of rows, what to answer."""
    nodes = [
        helper.make_node("Shape", ["state"], ["rows"], start=0, end=1),
        helper.make_node("Gather", ["table", "rows"], ["found"]),
        helper.make_node("Add", ["state", "found"], ["x"]),
    ]
    return with_nodes(*nodes, weights=[tensor("table", np.arange(257) == 77)])


def mixing_rows() -> bytes:
    """What a row is answered depends on the mean of the batch."""
    nodes = [
        helper.make_node("ReduceMean", ["state", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["state", "mean"], ["x"]),
    ]
    return with_nodes(*nodes, weights=[tensor("axes", [0], np.int64)])


def by_chance() -> bytes:
    """Dropout as in training, by an input and not by its name."""
    return with_nodes(
        helper.make_node("Dropout", ["state", "ratio", "training"], ["x"]),
        weights=[tensor("ratio", 0.5), tensor("training", True, np.bool_)],
    )


def double_output() -> bytes:
    parsed = onnx.load_from_string(models.mlp())
    parsed.graph.output.append(parsed.graph.output[0])
    return parsed.SerializeToString()


def one_more_output() -> bytes:
    parsed = onnx.load_from_string(models.mlp())
    parsed.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", 32]))
    return parsed.SerializeToString()


def double_name() -> bytes:
    """Two operators make a tensor of the same name."""
    nodes = [helper.make_node("Neg", ["state"], ["x"]), helper.make_node("Identity", ["state"], ["x"])]
    return with_nodes(*nodes)


def string_weights() -> bytes:
    text = TensorProto(name="text", data_type=TensorProto.STRING, dims=[1], string_data=[b"/etc/passwd"])
    return with_nodes(helper.make_node("Identity", ["state"], ["x"]), weights=[text])


def dims_beyond_64_bits() -> bytes:
    weight = TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[1 << 62, 1 << 62, 4], raw_data=b"")
    return with_nodes(helper.make_node("Add", ["state", "large"], ["x"]), weights=[weight])


def integers_as_answer() -> bytes:
    return models.model([helper.make_node("Cast", ["state"], ["q_values"], to=TensorProto.INT64)])


def unknown_standard_version() -> bytes:
    parsed = onnx.load_from_string(models.mlp())
    parsed.opset_import[0].version = 10**6
    return parsed.SerializeToString()
