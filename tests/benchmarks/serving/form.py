"""The forms in which a request is written: JSON, Open Inference Protocol as JSON and with binary tensors, bare rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.serving.subject import DECIMALS, INPUT, OUTPUT, Rows

JSON_TYPE = {"Content-Type": "application/json"}
BINARY_TYPE = {"Content-Type": "application/octet-stream"}
HEADER_LENGTH = "Inference-Header-Content-Length"
FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class Form:
    """How rows become a request and an answer becomes rows again.

    `path` may hold {target} (archetype/model_type) and {model} (the same with a dot). `encode` gives headers and body;
    `decode` takes the answer's headers, names in lower case, and its body.
    """

    name: str
    path: str
    encode: Callable[[Rows], tuple[dict[str, str], bytes]]
    decode: Callable[[Mapping[str, str], bytes], Rows]

    def at(self, target: str) -> str:
        return self.path.format(target=target, model=target.replace("/", "."))

    def request(self, rows: Rows, target: str) -> bytes:
        """The request as it goes over the wire."""
        headers, body = self.encode(rows)
        lines = [f"POST {self.at(target)} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


def _numbers(rows: Rows) -> list[list[float]]:
    """Numbers with as many digits as they have: a float32 made a double would show sixteen of them."""
    numbers: list[list[float]] = rows.astype(np.float64).round(DECIMALS).tolist()
    return numbers


def _encode_plain(rows: Rows) -> tuple[dict[str, str], bytes]:
    numbers = _numbers(rows)
    value = {INPUT: numbers[0]} if len(rows) == 1 else {f"{INPUT}s": numbers}
    return JSON_TYPE, json.dumps(value).encode()


def _encode_argument(rows: Rows) -> tuple[dict[str, str], bytes]:
    return JSON_TYPE, json.dumps({INPUT: _numbers(rows)}).encode()


def _encode_oip_json(rows: Rows) -> tuple[dict[str, str], bytes]:
    numbers = [number for row in _numbers(rows) for number in row]
    tensor = {"name": INPUT, "shape": list(rows.shape), "datatype": "FP32", "data": numbers}
    return JSON_TYPE, json.dumps({"inputs": [tensor]}).encode()


def _encode_oip_binary(rows: Rows) -> tuple[dict[str, str], bytes]:
    data = rows.astype(FLOAT).tobytes()
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": INPUT, "shape": list(rows.shape), "datatype": "FP32", "parameters": parameters}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return {**BINARY_TYPE, HEADER_LENGTH: str(len(header))}, header + data


def _encode_raw(rows: Rows) -> tuple[dict[str, str], bytes]:
    return BINARY_TYPE, rows.astype(FLOAT).tobytes()


def _decode_plain(_: Mapping[str, str], body: bytes) -> Rows:
    return np.asarray(json.loads(body)["outputs"][OUTPUT], np.float32)


def _decode_named(_: Mapping[str, str], body: bytes) -> Rows:
    return np.asarray(json.loads(body)[OUTPUT], np.float32)


def _decode_bare(_: Mapping[str, str], body: bytes) -> Rows:
    return np.asarray(json.loads(body), np.float32)


def _decode_oip_json(_: Mapping[str, str], body: bytes) -> Rows:
    output = json.loads(body)["outputs"][0]
    return np.asarray(output["data"], np.float32).reshape(output["shape"])


def _decode_oip_binary(headers: Mapping[str, str], body: bytes) -> Rows:
    length = int(headers[HEADER_LENGTH.lower()])
    shape = json.loads(body[:length])["outputs"][0]["shape"]
    return np.frombuffer(body[length:], FLOAT).reshape(shape)


def _decode_raw(_: Mapping[str, str], body: bytes) -> Rows:
    return np.frombuffer(body, FLOAT).reshape(-1, 10)


PLAIN = Form("JSON", "/infer/{target}", _encode_plain, _decode_plain)
OIP_JSON = Form("OIP JSON", "/v2/models/{model}/infer", _encode_oip_json, _decode_oip_json)
OIP_BINARY = Form("OIP binary", "/v2/models/{model}/infer", _encode_oip_binary, _decode_oip_binary)
RAW = Form("raw", "/infer/{target}", _encode_raw, _decode_raw)
OURS = (PLAIN, OIP_JSON, OIP_BINARY, RAW)

LITSERVE = Form("JSON", "/predict", _encode_argument, _decode_named)
BENTOML = Form("JSON", "/infer", _encode_argument, _decode_bare)
