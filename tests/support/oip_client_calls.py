"""What a stock client, `tritonclient[http]`, asks of both servers; what it hands out, in the form of what went over the
wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

from tests.support.oip_answers import Answer
from tests.support.oip_exchanges import GRID, HALF, HALVES, ONE, STATE, STATES, TWO

Client = http.InferenceServerClient


def given(values: Any, name: str = "state", binary: bool = True) -> http.InferInput:
    kind = {"float32": "FP32", "float16": "FP16"}[values.dtype.name]
    made = http.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def wanted(*names: str, binary: bool = True) -> list[http.InferRequestedOutput]:
    return [http.InferRequestedOutput(name, binary_data=binary) for name in names or ("q_values",)]


def infer(client: Client, *inputs: http.InferInput, model: str = ONE, **options: Any) -> http.InferResult:
    return client.infer(model, list(inputs or (given(STATES),)), **options)


def two(client: Client, **options: Any) -> http.InferResult:
    return infer(client, given(STATE), given(GRID, "grid"), model=TWO, **options)


CALLS: Mapping[str, Callable[[Client], Any]] = {
    "live": lambda client: client.is_server_live(),
    "ready": lambda client: client.is_server_ready(),
    "model ready": lambda client: client.is_model_ready(ONE),
    "version ready": lambda client: client.is_model_ready(ONE, "1"),
    "unknown model ready": lambda client: client.is_model_ready("no.model"),
    "unknown version ready": lambda client: client.is_model_ready(ONE, "99"),
    "model metadata": lambda client: client.get_model_metadata(ONE),
    "configuration": lambda client: client.get_model_config(TWO),
    "repository index": lambda client: client.get_model_repository_index(),
    "binary both ways": lambda client: infer(client, outputs=wanted()),
    "binary in, JSON out": lambda client: infer(client, outputs=wanted(binary=False)),
    "JSON both ways": lambda client: infer(client, given(STATES, binary=False), outputs=wanted(binary=False)),
    "no outputs named": lambda client: infer(client),
    "id": lambda client: infer(client, request_id="fight 7"),
    "version": lambda client: infer(client, model_version="1"),
    "timeout and priority": lambda client: infer(client, timeout=2_000_000, priority=0),
    "parameters of the client's own": lambda client: infer(client, parameters={"game": "7", "turn": 3}),
    "gzip both ways": lambda client: infer(
        client, request_compression_algorithm="gzip", response_compression_algorithm="gzip"
    ),
    "deflate both ways": lambda client: infer(
        client, request_compression_algorithm="deflate", response_compression_algorithm="deflate"
    ),
    "two inputs": lambda client: two(client),
    "two inputs, one output": lambda client: two(client, outputs=wanted("negative")),
    "half precision": lambda client: infer(client, given(HALVES), model=HALF, outputs=wanted()),
    "unknown model": lambda client: infer(client, model="no.model"),
    "unknown version": lambda client: infer(client, model_version="99"),
    "unknown input": lambda client: infer(client, given(STATES, "x")),
    "unknown output": lambda client: infer(client, outputs=wanted("x")),
    "wrong shape": lambda client: infer(client, given(STATES[:, :63].copy())),
    "wrong datatype": lambda client: infer(client, given(HALVES)),
    "too many rows": lambda client: infer(client, given(np.ones((17, 64), np.float32))),
    "one input of two": lambda client: infer(client, given(STATE), model=TWO),
    "metadata of an unknown model": lambda client: client.get_model_metadata("no.model"),
    "load what is loaded": lambda client: client.load_model(ONE),
    "load an unknown model": lambda client: client.load_model("no.model"),
}


def call(port: int, name: str) -> Answer:
    """Status 200, or the one that the client's exception has, 0 where it never asked."""
    with Client(f"127.0.0.1:{port}") as client:
        try:
            result = CALLS[name](client)
        except InferenceServerException as error:
            return Answer(int(error.status() or 0), json={"error": error.message()})
    if not isinstance(result, http.InferResult):
        return Answer(200, json=result)
    said = result.get_response()
    return Answer(200, json=said, binary={own["name"]: _numbers(result, own["name"]) for own in said["outputs"]})


def _numbers(result: http.InferResult, name: str) -> list[float]:
    values: list[float] = result.as_numpy(name).astype(float).ravel().tolist()
    return values
