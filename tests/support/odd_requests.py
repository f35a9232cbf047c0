"""Requests that nobody should send, from a seed: right ones bent out of shape, and noise."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TARGET, MODEL = "aggressive/combat_dqn", "aggressive.combat_dqn"
NASTY: tuple[object, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e38, 1e308, 1e999, "", "x", "\x00", "é" * 50,
    [], [[]], {}, [None], ["1"], [[1, [2]]], {"a": 1}, "../../etc/passwd", [0.1] * 64, [[0.1] * 64] * 300,
)  # fmt: skip
PATHS = (
    f"/infer/{TARGET}", f"/v2/models/{MODEL}/infer", f"/v2/models/{MODEL}/versions/1/infer", f"/v2/models/{MODEL}",
    f"/v2/models/{MODEL}/ready", f"/v2/models/{MODEL}/config", f"/v2/models/{MODEL}/stats", "/v2", "/v2/models/stats",
    "/v2/health/live", "/v2/health/ready", "/v2/repository/index", "/health", "/ready", "/models", "/metrics",
    "/infer/no/model", f"/v2/repository/models/{MODEL}x/load", f"/v2/repository/models/{MODEL}x/unload",
    f"/reload/{TARGET}x", f"/rollback/{TARGET}x",
    f"/outcome/{TARGET}", f"/shadow/{TARGET}", f"/outcome/{TARGET}x", "/experience",
    "/", "//", "/infer//", "/v2/models//infer", "/%00", "/infer/%2e%2e/x", "/openapi.json",
)  # fmt: skip
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE")
ODD_HEADERS = (
    "Inference-Header-Content-Length: {number}", "Content-Encoding: gzip", "Content-Encoding: deflate",
    "Content-Encoding: br", "Content-Type: application/octet-stream", "Content-Type: text/plain; charset=\xff",
    "Expect: 100-continue", "Connection: close", "Connection: Upgrade", "Upgrade: h2c", "Accept-Encoding: gzip",
    "Authorization: Bearer x", "Origin: null", "X-{number}: {number}", "Cookie: a=b", "Range: bytes=0-1",
    "Content-Type: application/x-ndjson", "X-Client-Key: {number}", "X-Client-Key: ", "X-Request-Id: {number}",
)  # fmt: skip


@dataclass(frozen=True)
class Odd:
    """`framed`: the server can tell where it ends, so the connection stays of use."""

    raw: bytes
    framed: bool


class OddRequests:
    """Draws one after the other."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds: tuple[Callable[[], Odd], ...] = (
            self._bent_json, self._bent_json, self._bent_oip, self._bent_oip, self._bent_binary, self._bent_binary,
            self._bare, self._odd_head, self._bent_outcome, self._packed, self._flipped, self._noise,
        )  # fmt: skip

    def draw(self) -> Odd:
        return self._random.choice(self._kinds)()

    def _bent_json(self) -> Odd:
        value = self._bent({"state": [0.5] * 64} if self._chance(0.5) else {"states": [[0.5] * 64] * 3})
        return self._framed(f"/infer/{TARGET}", self._mangled(json.dumps(value).encode()))

    def _bent_outcome(self) -> Odd:
        told: object = {"version": "v000001", "score": 0.5, "client_key": "a"}
        if self._chance(0.5):
            told = {"outcomes": [told, {"request_id": "7", "score": 1}]}
        path = f"/outcome/{TARGET}"
        if self._chance(0.2):
            path, told = f"/shadow/{TARGET}", {"version": "v000001", "share": 0.1}
        return self._framed(path, self._mangled(json.dumps(self._bent(told)).encode()))

    def _bent_oip(self) -> Odd:
        value = self._bent(
            {
                "id": "7",
                "parameters": {"binary_data_output": self._chance(0.5), "timeout": 100_000},
                "inputs": [{"name": "state", "datatype": "FP32", "shape": [2, 64], "data": [0.5] * 128}],
                "outputs": [{"name": "q_values", "parameters": {"binary_data": False}}],
            }
        )
        return self._framed(f"/v2/models/{MODEL}/infer", self._mangled(json.dumps(value).encode()))

    def _bent_binary(self) -> Odd:
        rows = self._random.choice((1, 2, 256, 257))
        numbers = np.frombuffer(self._random.randbytes(rows * 256), np.float32)
        data = (numbers if self._chance(0.3) else np.full(rows * 64, 0.5, np.float32)).tobytes()
        given: dict[str, object] = {"name": "state", "datatype": "FP32", "shape": [rows, 64]}
        given["parameters"] = {"binary_data_size": len(data)}
        value: object = {"inputs": [given], "parameters": {"binary_data_output": True}}
        head = json.dumps(self._bent(value) if self._chance(0.6) else value).encode()
        data = data[: self._random.randrange(len(data))] if self._chance(0.2) else data
        length = self._random.choice((len(head), len(head), len(head), 0, 1, -1, 10**30, len(head) + 3))
        return self._framed(f"/v2/models/{MODEL}/infer", head + data, f"Inference-Header-Content-Length: {length}")

    def _bare(self) -> Odd:
        body = self._random.randbytes(self._random.choice((0, 1, 255, 256, 512, 65536, 65792)))
        return self._framed(f"/infer/{TARGET}", body, "Content-Type: application/octet-stream")

    def _odd_head(self) -> Odd:
        number = self._random.choice((0, 1, 2**31, 10**20, -5))
        headers = [self._random.choice(ODD_HEADERS).format(number=number) for _ in range(self._random.randrange(4))]
        method, path = self._random.choice(METHODS), self._random.choice(PATHS)
        body = self._mangled(b'{"state":[1]}') if self._chance(0.7) else b""
        ending = self._random.choice(("", "", "?", "?a=b", "/", "%20"))
        return Odd(self._request(path + ending, body, *headers, method=method), framed=True)

    def _packed(self) -> Odd:
        body = gzip.compress(self._random.choice((b"{}", b" " * 5 * 2**20, self._random.randbytes(99))), mtime=0)
        return self._framed(f"/infer/{TARGET}", self._mangled(body), "Content-Encoding: gzip")

    def _flipped(self) -> Odd:
        """Right but for some bytes anywhere, the head too."""
        raw = bytearray(self._request(f"/infer/{TARGET}", json.dumps({"state": [0.5] * 64}).encode()))
        for _ in range(self._random.randrange(1, 6)):
            raw[self._random.randrange(len(raw))] = self._random.randrange(256)
        return Odd(bytes(raw), framed=False)

    def _noise(self) -> Odd:
        return Odd(self._random.randbytes(self._random.randrange(1, 300)), framed=False)

    def _bent(self, value: object) -> object:
        """The same with something nasty in one place."""
        if isinstance(value, dict) and value and self._chance(0.8):
            key = self._random.choice(list(value))
            if self._chance(0.1):
                return {name: own for name, own in value.items() if name != key} | {"x": 1}
            return {**value, key: self._bent(value[key])}
        if isinstance(value, list) and value and self._chance(0.8):
            place = self._random.randrange(len(value))
            return [*value[:place], self._bent(value[place]), *value[place + 1 :]]
        return self._random.choice(NASTY)

    def _mangled(self, body: bytes) -> bytes:
        if self._chance(0.7) or not body:
            return body
        place = self._random.randrange(len(body))
        return self._random.choice((body[:place], body[:place] + self._random.randbytes(2) + body[place:], body + body))

    def _framed(self, path: str, body: bytes, *headers: str) -> Odd:
        return Odd(self._request(path, body, *headers), framed=True)

    def _request(self, path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def _chance(self, share: float) -> bool:
        return self._random.random() < share
