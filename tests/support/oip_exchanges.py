"""What a real Triton and our server are both asked in the Open Inference Protocol, in this order: a list of requests as
they go over the wire, the right ones first, then every mistake that a client may make.

Both serve the same three models under the same names; `oip_sides` starts them.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support import onnx_models as models

ONE, TWO, HALF = "aggressive.combat_dqn", "mage.spatial_vit", "tank.combat_dqn"
VERSIONS = {ONE: 1, TWO: 2, HALF: 3}  # as promoted, one after the other
MAX_ROWS = 16
STATES = np.random.default_rng(5).standard_normal((3, models.STATE)).round(4).astype(np.float32)
HEAD_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Exchange:
    """`until_gone`: look at the repository index until that model is unloaded: Triton does so behind its answer."""

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    until_gone: str | None = None


def get(name: str, path: str, **changes: Any) -> Exchange:
    return Exchange(name, "GET", path, **changes)


def post(name: str, path: str, body: bytes | str | object = b"", **headers: str) -> Exchange:
    """Header names with _ for -."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return Exchange(name, "POST", path, raw, {key.replace("_", "-"): value for key, value in headers.items()})


def tensor(values: Any = None, name: str = "state", **changes: Any) -> dict[str, Any]:
    """An input as JSON, by default the three states, flat. A change to None takes the key away."""
    values = STATES if values is None else values
    kind = {"float32": "FP32", "float16": "FP16"}[values.dtype.name]
    data = np.asarray(values, np.float64).round(4).ravel().tolist()
    own = {"name": name, "shape": list(values.shape), "datatype": kind, "data": data, **changes}
    return {key: value for key, value in own.items() if value is not None}


def asked(*tensors: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": list(tensors or (tensor(),)), **more}


def infer(name: str, request: object = None, model: str = ONE, **headers: str) -> Exchange:
    return post(name, f"/v2/models/{model}/infer", asked() if request is None else request, **headers)


def packed(*arrays: Any, names: Sequence[str] = ("state",), **changes: Any) -> dict[str, Any]:
    """An `infer`'s inputs as binary tensors, see `binary`."""
    tensors = []
    for name, array in zip(names, arrays, strict=True):
        parameters = {"parameters": {"binary_data_size": array.nbytes}}
        tensors.append(tensor(array, name, **{"data": None, **parameters, **changes}))
    return {"inputs": tensors}


def binary(
    name: str,
    head: object,
    *arrays: Any,
    model: str = ONE,
    length: str | None = None,
    extra: bytes = b"",
    **headers: str,
) -> Exchange:
    """The head and the arrays behind it."""
    text = json.dumps(head).encode()
    body = b"".join((text, *(array.tobytes() for array in arrays), extra))
    made = infer(name, body, model, **headers)
    return Exchange(name, "POST", made.path, body, {**made.headers, HEAD_LENGTH: length or str(len(text))})


def raw(name: str, body: bytes, model: str = ONE) -> Exchange:
    return Exchange(name, "POST", f"/v2/models/{model}/infer", body, {HEAD_LENGTH: "0"})


def output(name: str = "q_values", **parameters: object) -> dict[str, object]:
    return {"name": name, **({"parameters": parameters} if parameters else {})}


GRID, STATE = np.arange(12, dtype=np.float32).reshape(2, 2, 3), np.ones((2, 3), np.float32)
BOTH = (tensor(STATE), tensor(GRID, "grid"))
BINARY_OUT: Mapping[str, Any] = {"parameters": {"binary_data_output": True}}
HALVES = STATES.astype(np.float16)
PLAIN = json.dumps(asked()).encode()


def about(when: str, model: str = ONE) -> list[Exchange]:
    path, version = f"/v2/models/{model}", VERSIONS[model]
    return [
        get(f"{when}: metadata", path),
        get(f"{when}: metadata of a version", f"{path}/versions/{version}"),
        get(f"{when}: ready", f"{path}/ready"),
        get(f"{when}: a version ready", f"{path}/versions/{version}/ready"),
        get(f"{when}: configuration", f"{path}/config"),
        get(f"{when}: configuration of a version", f"{path}/versions/{version}/config"),
        get(f"{when}: statistics", f"{path}/stats"),
        get(f"{when}: statistics of a version", f"{path}/versions/{version}/stats"),
        post(f"{when}: repository index", "/v2/repository/index"),
        post(f"{when}: repository index, ready ones", "/v2/repository/index", {"ready": True}),
        infer(f"{when}: infer", asked(*BOTH) if model == TWO else None, model),
    ]


SERVER = [
    get("server live", "/v2/health/live"),
    get("server ready", "/v2/health/ready"),
    get("server metadata", "/v2"),
    get("statistics of all", "/v2/models/stats"),
]

JSON = [
    infer("flat data"),
    infer("nested data", asked(tensor(data=STATES.astype(float).round(4).tolist()))),
    infer("one row", asked(tensor(STATES[:1]))),
    infer("as many rows as allowed", asked(tensor(np.ones((MAX_ROWS, 64), np.float32)))),
    infer("whole numbers", asked(tensor(np.ones((1, 64), np.float32), data=[1] * 64))),
    infer("id", asked(id="fight 7")),
    infer("id that is empty", asked(id="")),
    post("version in the path", f"/v2/models/{ONE}/versions/1/infer", asked()),
    infer("output by name", asked(outputs=[output()])),
    infer("empty list of outputs", asked(outputs=[])),
    infer("two inputs, two outputs", asked(*BOTH), TWO),
    infer("inputs in another order", asked(*BOTH[::-1]), TWO),
    infer("one output of two", asked(*BOTH, outputs=[output("negative")]), TWO),
    infer("outputs in another order", asked(*BOTH, outputs=[output("negative"), output("sum")]), TWO),
    infer("one output twice", asked(outputs=[output(), output()])),
    infer("parameters that are empty", asked(parameters={})),
    infer("parameter timeout", asked(parameters={"timeout": 1_000_000})),
    infer("parameter priority", asked(parameters={"priority": 0})),
    infer("parameter of the client's own", asked(parameters={"game": "7", "turn": 3, "boss": True})),
    infer("key of the client's own", asked(game="7")),
    infer("keys of the client's own in a tensor", asked(tensor(game="7", parameters={"turn": 3}))),
    infer("white space around", b" \n" + PLAIN + b"\n "),
    infer("typed as text", PLAIN, Content_Type="text/plain"),
    infer("half precision as JSON", asked(tensor(HALVES)), HALF),
]  # fmt: skip

BINARY = [
    binary("binary in", packed(STATES), STATES),
    binary("binary in, content type of binary", packed(STATES), STATES, Content_Type="application/octet-stream"),
    binary("binary in and out by the request", {**packed(STATES), **BINARY_OUT}, STATES),
    binary("binary in and out by the output", {**packed(STATES), "outputs": [output(binary_data=True)]}, STATES),
    binary("the output's word before the request's",
           {**packed(STATES), **BINARY_OUT, "outputs": [output(binary_data=False)]}, STATES),
    infer("JSON in, binary out", asked(**BINARY_OUT)),
    infer("JSON in, binary out by the output", asked(outputs=[output(binary_data=True)])),
    binary("a head without binary data", asked()),
    binary("id with binary", {**packed(STATES), **BINARY_OUT, "id": "fight 7"}, STATES),
    binary("one input binary, one JSON", {"inputs": [*packed(STATE)["inputs"], BOTH[1]]}, STATE, model=TWO),
    binary("two binary inputs", packed(STATE, GRID, names=("state", "grid")), STATE, GRID, model=TWO),
    binary("two binary inputs, other order", packed(GRID, STATE, names=("grid", "state")), GRID, STATE, model=TWO),
    infer("one output binary, one JSON",
          asked(*BOTH, outputs=[output("sum", binary_data=True), output("negative")]), TWO),
    infer("two binary outputs", asked(*BOTH, **BINARY_OUT), TWO),
    binary("half precision", {**packed(HALVES), **BINARY_OUT}, HALVES, model=HALF),
    binary("half precision out as JSON", packed(HALVES), HALVES, model=HALF),
    raw("raw binary", STATES[:1].tobytes()),
    raw("raw binary of three rows", STATES.tobytes()),
    raw("raw binary of half precision", HALVES[:1].tobytes(), HALF),
]  # fmt: skip

PACKING = [
    infer("gzip", gzip.compress(PLAIN, mtime=0), Content_Encoding="gzip"),
    infer("deflate", zlib.compress(PLAIN), Content_Encoding="deflate"),
    infer("identity", PLAIN, Content_Encoding="identity"),
    infer("answer may be gzip", PLAIN, Accept_Encoding="gzip"),
    infer("answer may be deflate", PLAIN, Accept_Encoding="deflate"),
    infer("answer may be packed as it likes", PLAIN, Accept_Encoding="gzip, deflate"),
    infer("answer may be brotli", PLAIN, Accept_Encoding="br"),
    infer("binary answer may be gzip", asked(**BINARY_OUT), Accept_Encoding="gzip"),
]
