"""Hostile and broken model files are refused from their bytes, before anything in them runs."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from supervisor.contract import Interface
from supervisor.serving.errors import ApiError, Refused
from supervisor.serving.graph import MAX_NODES, check_model
from supervisor.serving.leash import Leash
from supervisor.serving.session import build
from tests.support import onnx_models as models

ROWS = 256

HOSTILE = {
    "an unknown operator": (models.unknown_operator(), "unknown_operator"),
    "an operator that allocates by number": (models.reading_operator(), "unknown_operator"),
    "an endless loop": (models.endless_loop(), "unknown_operator"),
    "a graph hidden in an attribute": (models.hidden_graph(), "unknown_operator"),
    "weights in another file": (models.external_weights("secret.bin"), "external_data"),
    "weights outside of the folder": (models.external_weights("../../../etc/passwd"), "external_data"),
    "a constant in another file": (models.external_constant("/etc/passwd"), "external_data"),
    "sparse weights": (models.sparse_weights(), "sparse_weights"),
    "two gigabytes from small constants": (models.two_gigabytes(), "too_large"),
    "forty doublings": (models.doubling(40), "too_large"),
    "seventy doublings": (models.doubling(70), "too_large"),
    "declared and not held weights": (models.short_weights(), "damaged"),
    "NaN weights": (models.nan_weights(), "not_finite"),
    "no free batch dimension": (models.fixed_batch(), "interface"),
    "nothing": (b"", "not_onnx"),
    "noise": (bytes(range(256)) * 20, "not_onnx"),
    "half a file": (models.mlp()[: len(models.mlp()) // 2], "not_onnx"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason(name: str) -> None:
    data, code = HOSTILE[name]
    with pytest.raises(Refused) as caught:
        check_model(data, ROWS)
    assert caught.value.code == code
    assert caught.value.status == 422


def test_an_honest_net_passes() -> None:
    check_model(models.mlp(), ROWS)
    check_model(models.mlp(kind=np.float16), ROWS)
    check_model(models.two_inputs()[0], ROWS)


def test_memory_is_counted_at_the_largest_batch() -> None:
    data = models.doubling(12)  # 64 * 2**12 floats: 1 MB a row
    check_model(data, max_rows=128)
    with pytest.raises(Refused, match="MB at a batch of 512"):
        check_model(data, max_rows=512)


def test_many_tensors_that_are_each_small_enough_are_too_much_together() -> None:
    names = [f"n{i}" for i in range(100)]
    copies = [
        helper.make_node("Neg", [before], [after]) for before, after in zip(["d11", *names[:-1]], names, strict=True)
    ]
    nodes = [helper.make_node("Concat", [f"d{i}" if i else "state"] * 2, [f"d{i + 1}"], axis=1) for i in range(11)]
    last = [
        helper.make_node("ReduceMax", [names[-1], "axes"], ["m"], keepdims=1),
        helper.make_node("Add", ["state", "m"], ["x"]),
    ]
    axes = models.tensor("axes", [1], np.int64)
    with pytest.raises(Refused, match="all up to it"):
        check_model(models.with_nodes(*nodes, *copies, *last, weights=[axes]), ROWS)


def test_too_many_operators_are_refused() -> None:
    nodes = [helper.make_node("Neg", [f"n{i}" if i else "state"], [f"n{i + 1}"]) for i in range(MAX_NODES)]
    with pytest.raises(Refused, match="operators, at most"):
        check_model(models.with_nodes(*nodes, helper.make_node("Neg", [f"n{MAX_NODES}"], ["x"])), ROWS)


def test_what_the_file_says_about_its_sizes_is_not_believed() -> None:
    import onnx

    parsed = onnx.load_from_string(models.two_gigabytes())
    parsed.graph.value_info.append(helper.make_tensor_value_info("big", onnx.TensorProto.FLOAT, [1, 1]))
    with pytest.raises(Refused, match="2048 MB"):
        check_model(parsed.SerializeToString(), ROWS)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, len(models.mlp()) * 8 - 1), cut=st.none() | st.integers(0, len(models.mlp()) - 1))
def test_a_file_damaged_anywhere_is_refused_or_answers_like_a_model(position: int, cut: int | None) -> None:
    """The hash catches these before; this is what stands behind it: a verdict, never a crash or another error."""
    data = bytearray(models.mlp())
    data[position // 8] ^= 1 << position % 8
    try:
        session = build(bytes(data[:cut]), models.INTERFACE, ROWS, Leash())
    except Refused:
        return
    with contextlib.suppress(ApiError):
        assert session.run({"state": np.ones((1, models.STATE), np.float32)})["q_values"].shape == (1, models.ACTIONS)


def test_shapes_are_compared_with_the_registered_ones() -> None:
    for data in (models.wide(states=63), models.wide(actions=11)):
        with pytest.raises(Refused, match="registered"):
            build(data, models.INTERFACE, ROWS, Leash())
    renamed = Interface({"observation": (0, 64)}, {"q_values": (0, 10)})
    with pytest.raises(Refused, match="registered"):
        build(models.mlp(), renamed, ROWS, Leash())


def test_answers_that_are_not_finite_in_the_probe_are_refused() -> None:
    with pytest.raises(Refused) as caught:
        build(models.nan_answers(), models.INTERFACE, ROWS, Leash())
    assert caught.value.code == "not_finite"


@pytest.mark.parametrize("rows", [1, 7, 256])
def test_a_session_answers_as_the_net_it_was_made_from(rows: int) -> None:
    session = build(models.mlp(5), models.INTERFACE, ROWS, Leash())
    states = np.random.default_rng(1).standard_normal((rows, 64)).astype(np.float32)
    np.testing.assert_allclose(
        session.run({"state": states})["q_values"], models.mlp_values(5, states), rtol=1e-4, atol=1e-5
    )


def test_a_half_precision_model_takes_half_precision_inputs() -> None:
    session = build(models.mlp(kind=np.float16), models.INTERFACE, ROWS, Leash())
    assert session.input_types == {"state": np.float16}
    assert session.run({"state": np.ones((2, 64), np.float16)})["q_values"].dtype == np.float16


def test_a_session_knows_about_how_long_a_batch_takes() -> None:
    session = build(models.mlp(5, hidden=2000), models.INTERFACE, ROWS, Leash())
    assert session.seconds_per_run >= 0
    assert 0 < session.seconds_per_row < 0.1
