"""Small real ONNX files: honest ones, and ones that a server must refuse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from supervisor.contract import Interface

STATE = 64
ACTIONS = 10
INTERFACE = Interface(inputs={"state": (0, STATE)}, outputs={"q_values": (0, ACTIONS)})


def model(
    nodes: Sequence[NodeProto],
    weights: Sequence[TensorProto] = (),
    inputs: dict[str, Sequence[int | str]] | None = None,
    outputs: dict[str, Sequence[int | str]] | None = None,
    element: int = TensorProto.FLOAT,
    domains: Sequence[str] = (),
) -> bytes:
    """A file with one graph; by default state[batch, 64] to q_values[batch, 10]."""
    inputs = inputs or {"state": ["batch", STATE]}
    outputs = outputs or {"q_values": ["batch", ACTIONS]}
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element, shape) for name, shape in outputs.items()],
        list(weights),
    )
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(deterministic=True)


def tensor(name: str, values: object, kind: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=kind), name)


def matrices(seed: int, hidden: int = 32, kind: type = np.float32) -> list[NDArray[np.floating]]:
    """Weights and biases of a two-layer net, from the seed."""
    random = np.random.default_rng(seed)
    shapes = [(STATE, hidden), (hidden,), (hidden, ACTIONS), (ACTIONS,)]
    return [random.standard_normal(shape).astype(kind) * kind(0.2) for shape in shapes]


def mlp(seed: int = 0, hidden: int = 32, kind: type = np.float32) -> bytes:
    """An honest two-layer net."""
    nodes = [
        helper.make_node("Gemm", ["state", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["q_values"]),
    ]
    names = ("w0", "b0", "w1", "b1")
    weights = [tensor(name, value, kind) for name, value in zip(names, matrices(seed, hidden, kind), strict=True)]
    return model(nodes, weights, element=TensorProto.FLOAT16 if kind is np.float16 else TensorProto.FLOAT)


def always(action: int) -> bytes:
    """One that would do the same whatever it sees."""
    weights = [tensor("w", np.zeros((STATE, ACTIONS))), tensor("b", np.eye(ACTIONS)[action])]
    return model([helper.make_node("Gemm", ["state", "w", "b"], ["q_values"])], weights)


def mlp_values(seed: int, states: NDArray[np.floating], hidden: int = 32) -> NDArray[np.floating]:
    """What `mlp(seed)` answers, computed without onnxruntime."""
    w0, b0, w1, b1 = matrices(seed, hidden)
    return np.maximum(states @ w0 + b0, 0) @ w1 + b1


def two_inputs() -> tuple[bytes, Interface]:
    """q_values = grid summed over its rows, plus state."""
    nodes = [
        helper.make_node("ReduceSum", ["grid", "axes"], ["s"], keepdims=0),
        helper.make_node("Add", ["s", "state"], ["sum"]),
        helper.make_node("Neg", ["sum"], ["negative"]),
    ]
    data = model(
        nodes,
        [tensor("axes", [1], np.int64)],
        inputs={"grid": ["batch", 2, 3], "state": ["batch", 3]},
        outputs={"sum": ["batch", 3], "negative": ["batch", 3]},
    )
    return data, Interface({"grid": (0, 2, 3), "state": (0, 3)}, {"sum": (0, 3), "negative": (0, 3)})


def with_nodes(*nodes: NodeProto, weights: Sequence[TensorProto] = (), domains: Sequence[str] = ()) -> bytes:
    """state -> ... -> `x`, which a last Gemm turns into q_values; `x` must have 64 columns."""
    w0, b0 = tensor("w", np.ones((STATE, ACTIONS))), tensor("b", np.zeros(ACTIONS))
    last = helper.make_node("Gemm", ["x", "w", "b"], ["q_values"])
    return model([*nodes, last], [w0, b0, *weights], domains=domains)


def unknown_operator() -> bytes:
    return with_nodes(helper.make_node("Evil", ["state"], ["x"], domain="evil"), domains=["evil"])


def reading_operator() -> bytes:
    """A standard operator that is not on the list: it makes as much memory as a number in the file says."""
    return with_nodes(
        helper.make_node("ConstantOfShape", ["size"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["one"], keepdims=0),
        helper.make_node("Add", ["state", "one"], ["x"]),
        weights=[tensor("size", [1 << 29], np.int64)],
    )


def endless_loop() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still_on"]), helper.make_node("Sin", ["a"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, None),
        ],
    )
    return with_nodes(
        helper.make_node("Loop", ["turns", "yes", "state"], ["x"], body=body),
        weights=[tensor("turns", 10**12, np.int64), tensor("yes", True, np.bool_)],
    )


def hidden_graph() -> bytes:
    """An allowed operator that carries a graph as an attribute it should not have."""
    node = helper.make_node("Identity", ["state"], ["x"])
    attribute = node.attribute.add(name="body", type=AttributeProto.GRAPH)
    attribute.g.name = "hidden"
    return with_nodes(node)


def external_weights(location: str) -> bytes:
    weight = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[STATE])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return with_nodes(helper.make_node("Add", ["state", "outside"], ["x"]), weights=[weight])


def external_constant(location: str) -> bytes:
    node = helper.make_node("Constant", [], ["outside"])
    attribute = node.attribute.add(name="value", type=AttributeProto.TENSOR)
    attribute.t.data_type = TensorProto.FLOAT
    attribute.t.dims.append(STATE)
    attribute.t.data_location = TensorProto.EXTERNAL
    attribute.t.external_data.add(key="location", value=location)
    return with_nodes(node, helper.make_node("Add", ["state", "outside"], ["x"]))


def sparse_weights() -> bytes:
    parsed = onnx.load_from_string(mlp())
    sparse = parsed.graph.sparse_initializer.add(dims=[STATE])
    sparse.values.CopyFrom(tensor("sparse", [1.0]))
    sparse.indices.CopyFrom(tensor("indices", [0], np.int64))
    return parsed.SerializeToString()


def two_gigabytes() -> bytes:
    """Allowed operators that multiply 180 kB of weights out to 2 GB, from constants alone."""
    size = 23170
    return with_nodes(
        helper.make_node("MatMul", ["column", "row"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["one"], keepdims=0),
        helper.make_node("Add", ["state", "one"], ["x"]),
        weights=[tensor("column", np.ones((size, 1))), tensor("row", np.ones((1, size)))],
    )


def doubling(times: int) -> bytes:
    """Concatenates the state with itself again and again: 64 floats become 2**times as many."""
    nodes = [helper.make_node("Concat", [f"d{i}" if i else "state"] * 2, [f"d{i + 1}"], axis=1) for i in range(times)]
    nodes += [
        helper.make_node("ReduceMax", [f"d{times}", "axes"], ["m"], keepdims=1),
        helper.make_node("Add", ["state", "m"], ["x"]),
    ]
    return with_nodes(*nodes, weights=[tensor("axes", [1], np.int64)])


def short_weights() -> bytes:
    """Declares 2**40 values and holds four bytes."""
    weight = TensorProto(name="short", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    return with_nodes(helper.make_node("Add", ["state", "short"], ["x"]), weights=[weight])


def slow(products: int, size: int = 1024) -> bytes:
    """Small constants multiplied with each other many times: allowed operators, little memory, much time."""
    nodes = [helper.make_node("MatMul", [f"c{i}" if i else "c", "c"], [f"c{i + 1}"]) for i in range(products)]
    nodes += [
        helper.make_node("ReduceMean", [f"c{products}"], ["mean"], keepdims=0),
        helper.make_node("Add", ["state", "mean"], ["x"]),
    ]
    return with_nodes(*nodes, weights=[tensor("c", np.full((size, size), 1 / size))])


def nan_weights() -> bytes:
    parsed = onnx.load_from_string(mlp())
    values = numpy_helper.to_array(parsed.graph.initializer[0]).copy()
    values[3, 7] = np.nan
    parsed.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, parsed.graph.initializer[0].name))
    return parsed.SerializeToString()


def nan_answers() -> bytes:
    """Finite weights, and the square root of a negative number for every state."""
    return with_nodes(
        helper.make_node("Mul", ["state", "state"], ["square"]),
        helper.make_node("Sub", ["minus_one", "square"], ["negative"]),
        helper.make_node("Sqrt", ["negative"], ["x"]),
        weights=[tensor("minus_one", [-1.0])],
    )


def overflowing() -> bytes:
    """Honest for every ordinary state, infinite for a huge one."""
    return with_nodes(helper.make_node("Mul", ["state", "state"], ["x"]))


def wide(states: int = STATE, actions: int = ACTIONS) -> bytes:
    """A net of other shapes than the registered ones."""
    node = helper.make_node("Gemm", ["state", "w", "b"], ["q_values"])
    weights = [tensor("w", np.ones((states, actions))), tensor("b", np.zeros(actions))]
    return model([node], weights, {"state": ["batch", states]}, {"q_values": ["batch", actions]})


def fixed_batch() -> bytes:
    node = helper.make_node("Gemm", ["state", "w", "b"], ["q_values"])
    weights = [tensor("w", np.ones((STATE, ACTIONS))), tensor("b", np.zeros(ACTIONS))]
    return model([node], weights, {"state": [1, STATE]}, {"q_values": [1, ACTIONS]})


def fragile(seed: int = 0, kind: type = np.float32) -> bytes:
    """An honest net, but for states whose first number is below -10: its answers are no numbers there."""
    below = np.zeros((STATE, ACTIONS), kind)
    below[0] = 1.0
    nodes = [
        helper.make_node("Gemm", ["state", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["q"]),
        helper.make_node("Gemm", ["state", "below", "ten"], ["distance"]),
        helper.make_node("Sqrt", ["distance"], ["root"]),
        helper.make_node("Mul", ["root", "nothing"], ["zero"]),
        helper.make_node("Add", ["q", "zero"], ["q_values"]),
    ]
    names, element = ("w0", "b0", "w1", "b1"), helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    weights = [tensor(name, value, kind) for name, value in zip(names, matrices(seed, kind=kind), strict=True)]
    weights += [
        tensor("below", below, kind),
        tensor("ten", np.full(ACTIONS, 10.0), kind),
        tensor("nothing", [0.0], kind),
    ]
    return model(nodes, weights, element=element)
