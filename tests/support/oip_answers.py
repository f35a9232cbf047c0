"""One answer of a server of the Open Inference Protocol, as it can be written down and compared with another's."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tests.support.oip_exchanges import HEAD_LENGTH, Exchange

KINDS = {"FP32": np.dtype("<f4"), "FP16": np.dtype("<f2")}
GONE_S = 30.0


@dataclass
class Answer:
    """`json`: the body, or its head where binary data follow. `binary`: the numbers of those, by output.

    `head_length`: whether the header says where the head ends, and the rest is as long as the head says.
    """

    status: int
    content_type: str | None = None
    packing: str | None = None
    head_length: str | None = None
    json: Any = None
    text: str | None = None  # where it is not JSON
    binary: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}


def ask(port: int, exchange: Exchange) -> Answer:
    """The answer; status 0 where the connection is closed without one."""
    if exchange.until_gone is not None:
        _wait_until_gone(port, exchange.until_gone)
    try:
        status, headers, body = _asked(port, exchange)
    except (http.client.HTTPException, ConnectionError) as error:
        return Answer(0, text=type(error).__name__)
    packing = headers.get("content-encoding")
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(packing or "", bytes)
    return _read(Answer(status, headers.get("content-type"), packing), headers.get(HEAD_LENGTH.lower()), unpack(body))


def _asked(port: int, exchange: Exchange) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(exchange.method, exchange.path, exchange.body or None, dict(exchange.headers))
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()
    finally:
        connection.close()


def _read(answer: Answer, length: str | None, body: bytes) -> Answer:
    head = body if length is None else body[: int(length)]
    try:
        answer.json = json.loads(head) if head else None
    except ValueError:
        answer.text = head.decode(errors="replace")
        return answer
    if length is not None:
        rest = body[int(length) :]
        for output in answer.json["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is not None:
                part, rest = rest[:size], rest[size:]
                values = np.frombuffer(part, KINDS[output["datatype"]]).astype(float)
                answer.binary[output["name"]] = values.tolist()
                output["parameters"]["binary_data_size"] = len(part)
        answer.head_length = "right" if not rest else f"{len(rest)} bytes more than spoken of"
    return answer


def _wait_until_gone(port: int, model: str) -> None:
    end_s = time.monotonic() + GONE_S
    while True:
        index = json.loads(_asked(port, Exchange("", "POST", "/v2/repository/index"))[2])
        if {entry["state"] for entry in index if entry["name"] == model} == {"UNAVAILABLE"}:
            return
        assert time.monotonic() < end_s, f"{model} is still served: {index}"
        time.sleep(0.05)
