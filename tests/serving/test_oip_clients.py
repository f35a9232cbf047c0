"""Stock clients of the Open Inference Protocol, `tritonclient[http]` with gevent and with asyncio, work unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess

http = pytest.importorskip("tritonclient.http")
aio = pytest.importorskip("tritonclient.http.aio")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException

MODEL = "aggressive.combat_dqn"
TWO_INPUTS = "mage.spatial_vit"
STATES = np.random.default_rng(5).standard_normal((3, models.STATE)).astype(np.float32)
VALUES = models.mlp_values(1, STATES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ServedFolder:
    folder = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    folder.promote(models.mlp(1))
    data, interface = models.two_inputs()
    folder.promote(data, "mage/spatial_vit", interface)
    folder.promote(models.mlp(7, kind=np.float16), "tank/combat_dqn")
    return folder


@pytest.fixture(scope="module")
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    with ServerProcess(folder.path, ServerOptions(port=0, max_rows=16)) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    with http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def the_input(values: np.ndarray[Any, Any] = STATES, binary: bool = True, name: str = "state", **changes: Any) -> Any:
    kind = {"float32": "FP32", "float16": "FP16"}[values.dtype.name]
    given = http.InferInput(name, list(values.shape), changes.get("datatype", kind))
    given.set_data_from_numpy(values, binary_data=binary)
    return given


def outputs(binary: bool, *names: str) -> list[Any]:
    return [http.InferRequestedOutput(name, binary_data=binary) for name in names or ("q_values",)]


def test_the_server_tells_what_it_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    found = client.get_server_metadata()
    assert found["name"] == "incumbent"
    assert {"binary_tensor_data", "model_repository", "statistics", "model_configuration"} <= set(found["extensions"])


def test_a_model_tells_its_tensors_versions_and_configuration(client: Any) -> None:
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "v000001")
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready(MODEL, "2")
    assert not client.is_model_ready("no.model")
    assert client.get_model_metadata(MODEL) == {
        "name": MODEL,
        "versions": ["v000001"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "state", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [{"name": "q_values", "datatype": "FP32", "shape": [-1, 10]}],
    }
    configuration = client.get_model_config(MODEL)
    assert (configuration["max_batch_size"], configuration["input"]) == (
        16,
        [{"name": "state", "data_type": "TYPE_FP32", "dims": [64]}],
    )


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_an_inference_is_answered_in_every_form(
    client: Any, binary_in: bool, binary_out: bool, packing: str | None
) -> None:
    for _ in range(2):  # the second time what was understood of the head is known
        answer = client.infer(
            MODEL,
            [the_input(binary=binary_in)],
            outputs=outputs(binary_out),
            request_id="fight 7",
            request_compression_algorithm=packing,
        )
        np.testing.assert_allclose(answer.as_numpy("q_values"), VALUES, rtol=1e-4, atol=1e-5)
        said = answer.get_response()
        assert (said["id"], said["model_name"], said["model_version"]) == ("fight 7", MODEL, "v000001")
        assert ("data" in said["outputs"][0]) != binary_out


def test_without_outputs_all_are_given_and_the_request_says_whether_binary(client: Any) -> None:
    grid, state = np.ones((2, 2, 3), np.float32), np.ones((2, 3), np.float32)
    given = [the_input(state), the_input(grid, name="grid", binary=False)]  # any order, each its own form
    answer = client.infer(TWO_INPUTS, given)
    assert [own["name"] for own in answer.get_response()["outputs"]] == ["sum", "negative"]
    np.testing.assert_array_equal(answer.as_numpy("negative"), np.full((2, 3), -3))
    some = client.infer(TWO_INPUTS, given, outputs=outputs(False, "negative") + outputs(True, "sum"))
    assert ["data" in own for own in some.get_response()["outputs"]] == [True, False]
    np.testing.assert_array_equal(some.as_numpy("sum"), np.full((2, 3), 3))


def test_a_version_can_be_asked_for(client: Any) -> None:
    for version in ("v000001", "1"):
        answer = client.infer(MODEL, [the_input()], model_version=version)
        assert answer.get_response()["model_version"] == "v000001"


def test_half_precision_goes_both_ways(client: Any) -> None:
    states = STATES.astype(np.float16)
    answer = client.infer("tank.combat_dqn", [the_input(states)], outputs=outputs(True))
    found = answer.as_numpy("q_values")
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, models.mlp_values(7, states.astype(np.float32)), atol=0.1)


def test_the_repository_lists_loads_and_unloads(client: Any, server: ServerProcess) -> None:
    names = {entry["name"]: (entry["state"], entry["version"]) for entry in client.get_model_repository_index()}
    assert names == {
        MODEL: ("READY", "v000001"),
        TWO_INPUTS: ("READY", "v000002"),
        "tank.combat_dqn": ("READY", "v000003"),
    }
    client.unload_model(TWO_INPUTS)
    assert not client.is_model_ready(TWO_INPUTS)
    unloaded = {entry["name"]: entry for entry in client.get_model_repository_index()}[TWO_INPUTS]
    assert (unloaded["state"], unloaded["reason"]) == ("UNAVAILABLE", "it was unloaded")
    with pytest.raises(InferenceServerException, match="has no model loaded"):
        client.infer(TWO_INPUTS, [the_input(np.ones((1, 3), np.float32))])
    client.load_model(TWO_INPUTS)
    assert client.is_model_ready(TWO_INPUTS)
    with pytest.raises(InferenceServerException, match="registry"):
        client.load_model(MODEL, config="{}")
    with pytest.raises(InferenceServerException, match="no version of it"):
        client.load_model("no.model")


def test_statistics_count_rows_and_runs(client: Any) -> None:
    (before,) = client.get_inference_statistics(MODEL)["model_stats"]
    client.infer(MODEL, [the_input()])
    (after,) = client.get_inference_statistics(MODEL, "v000001")["model_stats"]
    assert after["inference_count"] == before["inference_count"] + len(STATES)
    assert after["execution_count"] == before["execution_count"] + 1
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert after["inference_stats"]["success"]["ns"] >= after["inference_stats"]["compute_infer"]["ns"] > 0
    assert len(client.get_inference_statistics()["model_stats"]) == 3


@pytest.mark.parametrize(
    ("model", "given", "words", "status"),
    [
        ("no.model", the_input(), "unknown model", "404"),
        (MODEL, the_input(name="x"), "unexpected inference input 'x'", "400"),
        (MODEL, the_input(np.zeros((1, 63), np.float32)), "expected [-1, 64], got [1, 63]", "400"),
        (MODEL, the_input(np.zeros((17, 64), np.float32)), "must be 1 to 16", "400"),
        (MODEL, the_input(np.zeros((0, 64), np.float32)), "must be 1 to 16", "400"),
        (MODEL, the_input(np.zeros((1, 64), np.float16)), "data-type is 'FP16'", "400"),
        (MODEL, the_input(np.full((1, 64), np.nan, np.float32)), "finite", "400"),
        (TWO_INPUTS, the_input(np.ones((1, 3), np.float32)), "expected 2 inputs but got 1", "400"),
    ],
)
def test_what_is_wrong_is_said_as_the_protocol_says_it(
    client: Any, model: str, given: Any, words: str, status: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [given])
    assert words in str(caught.value)
    assert caught.value.status() == status


def test_an_asyncio_client_is_answered_too(server: ServerProcess) -> None:
    async def ask() -> None:
        async with aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_server_ready()
            answers = await asyncio.gather(
                *(client.infer(MODEL, [the_input(STATES[k : k + 1])], outputs=outputs(True)) for k in range(3))
            )
            for k, answer in enumerate(answers):
                np.testing.assert_allclose(answer.as_numpy("q_values")[0], VALUES[k], rtol=1e-4, atol=1e-5)
            with pytest.raises(InferenceServerException, match="unknown model"):
                await client.infer("no.model", [the_input()])

    asyncio.run(asyncio.wait_for(ask(), timeout=60))
