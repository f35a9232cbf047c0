from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from trainers.evaluate import OnnxSession
from trainers.export import interface, onnx_bytes
from trainers.networks.mlp import QNetwork


def network(dueling: bool = False, hidden: tuple[int, ...] = (128, 128), seed: int = 0) -> QNetwork:
    torch.manual_seed(seed)
    return QNetwork(64, hidden, 10, dueling, dropout=0.2).eval()


def exported(model: QNetwork) -> bytes:
    return onnx_bytes(model.exported())


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("hidden", [(128, 128), (1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64)])
@pytest.mark.parametrize("batch", [1, 7, 128])
def test_the_file_answers_as_the_network_does(dueling: bool, hidden: tuple[int, ...], batch: int) -> None:
    model = network(dueling, hidden)
    states = np.random.default_rng(batch).random((batch, 64), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(states)).numpy()
    answers = OnnxSession(exported(model)).run({"state": states})["q_values"]
    assert answers.shape == (batch, 10)
    assert np.abs(answers - expected).max() < 1e-5
    assert np.ptp(expected) > 1e-3


def test_the_file_has_the_names_and_shapes_that_its_interface_says() -> None:
    model = network()
    graph = onnx.load_from_string(exported(model)).graph
    said = interface(model.exported())
    for values, described in ((graph.input, said.inputs), (graph.output, said.outputs)):
        shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
        assert shapes == described
    assert (said.inputs, said.outputs) == ({"state": (0, 64)}, {"q_values": (0, 10)})


def test_nothing_but_the_graph_stands_in_the_file() -> None:
    model = onnx.load_from_string(exported(network()))
    assert (model.doc_string, model.graph.doc_string, len(model.metadata_props), model.producer_version) == (
        "",
        "",
        0,
        "",
    )
    for node in model.graph.node:
        assert (node.doc_string, len(node.metadata_props)) == ("", 0)
        assert node.op_type in {"Gemm", "Relu", "Identity"}  # the last one for weights that are equal


def test_other_weights_give_other_bytes() -> None:
    assert exported(network(seed=0)) != exported(network(seed=1))


def test_dropout_acts_in_training_only() -> None:
    model = network()
    states = torch.rand(32, 64)
    assert torch.equal(model(states), model(states))
    model.train()
    assert not torch.equal(model(states), model(states))


def test_a_dueling_network_adds_the_value_to_centred_advantages() -> None:
    model = network(dueling=True)
    states = torch.rand(5, 64)
    with torch.no_grad():
        q = model(states)
        h = states
        for layer in model.hidden:
            h = torch.relu(layer(h))
        assert torch.allclose(q.mean(1, keepdim=True), model.value(h), atol=1e-6)
