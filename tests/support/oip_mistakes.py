"""Every mistake that a client may make, see `oip_exchanges`; and models that come and go."""

from __future__ import annotations

import dataclasses
import gzip
import json
from typing import Any

import numpy as np

from tests.support.oip_exchanges import (
    BOTH,
    HALVES,
    ONE,
    PLAIN,
    STATES,
    TWO,
    Exchange,
    about,
    asked,
    binary,
    get,
    infer,
    output,
    packed,
    post,
    raw,
    tensor,
)

NAN = np.where(np.arange(64) == 5, np.nan, 0.5).astype(np.float32).reshape(1, 64)
DEEP = b'{"inputs":' + b"[" * 3000 + b"]" * 3000 + b"}"


def numbers(text: str) -> bytes:
    """One row whose first number is written so."""
    row = ",".join([text, *["0.5"] * 63])
    return f'{{"inputs":[{{"name":"state","shape":[1,64],"datatype":"FP32","data":[{row}]}}]}}'.encode()


def of_the_input(title: str, /, **changes: Any) -> Exchange:
    return infer(title, asked({key: value for key, value in {**tensor(), **changes}.items() if value is not None}))


PATHS = [
    infer("unknown model", None, "no.model"),
    post("unknown version", f"/v2/models/{ONE}/versions/99/infer", asked()),
    post("version that is no number", f"/v2/models/{ONE}/versions/x/infer", asked()),
    get("metadata of an unknown model", "/v2/models/no.model"),
    get("metadata of an unknown version", f"/v2/models/{ONE}/versions/99"),
    get("metadata of a version that is no number", f"/v2/models/{ONE}/versions/x"),
    get("unknown model ready", "/v2/models/no.model/ready"),
    get("unknown version ready", f"/v2/models/{ONE}/versions/99/ready"),
    get("configuration of an unknown model", "/v2/models/no.model/config"),
    get("statistics of an unknown model", "/v2/models/no.model/stats"),
    get("statistics of an unknown version", f"/v2/models/{ONE}/versions/99/stats"),
    get("GET of infer", f"/v2/models/{ONE}/infer"),
    Exchange("PUT of infer", "PUT", f"/v2/models/{ONE}/infer", PLAIN),
    post("POST of metadata", f"/v2/models/{ONE}", {}),
    post("POST of live", "/v2/health/live", {}),
    get("GET of the repository index", "/v2/repository/index"),
    get("no such path", "/v2/nothing"),
    get("no such path of a model", f"/v2/models/{ONE}/nothing"),
    get("models without a name", "/v2/models"),
    get("a slash at the end", "/v2/"),
]  # fmt: skip

BODIES = [
    infer("empty body", b""),
    infer("no JSON", b"hello"),
    infer("JSON that ends too early", PLAIN[:-1]),
    infer("something behind the JSON", PLAIN + b"x"),
    infer("JSON list", b"[]"),
    infer("JSON text", b'"state"'),
    infer("JSON null", b"null"),
    infer("empty object", b"{}"),
    infer("nested very deeply", DEEP),
    infer("not UTF-8", PLAIN[:-1] + b',"id":"\xff"}'),
    infer("a key twice", PLAIN[:-1] + b',"id":"a","id":"b"}'),
    infer("no gzip", PLAIN, Content_Encoding="gzip"),
    infer("gzip that ends too early", gzip.compress(PLAIN, mtime=0)[:-9], Content_Encoding="gzip"),
    infer("no deflate", PLAIN, Content_Encoding="deflate"),
    infer("unknown packing", PLAIN, Content_Encoding="br"),
]  # fmt: skip

HEADS = [
    infer("inputs are missing", {"id": "7"}),
    infer("inputs are empty", {"inputs": []}),
    infer("inputs are no list", {"inputs": tensor()}),
    infer("inputs are null", {"inputs": None}),
    infer("an input is no object", {"inputs": [7]}),
    infer("id is a number", asked(id=7)),
    infer("id is null", asked(id=None)),
    infer("parameters are a list", asked(parameters=[1])),
    infer("parameters are null", asked(parameters=None)),
    infer("parameters of an input are null", asked({**tensor(), "parameters": None})),
    infer("parameters of an output are null", asked(outputs=[{**output(), "parameters": None}])),
    infer("a parameter is an object", asked(parameters={"game": {"round": 1}})),
    infer("a parameter is null", asked(parameters={"game": None})),
    infer("timeout is text", asked(parameters={"timeout": "soon"})),
    infer("timeout is negative", asked(parameters={"timeout": -1})),
    infer("binary_data_output is text", asked(parameters={"binary_data_output": "yes"})),
    infer("outputs are no list", asked(outputs=output())),
    infer("outputs are null", asked(outputs=None)),
    infer("an output is no object", asked(outputs=[7])),
    infer("an output without a name", asked(outputs=[{}])),
    infer("unknown output", asked(outputs=[output("x")])),
    infer("binary_data is text", asked(outputs=[output(binary_data="yes")])),
    infer("classification", asked(outputs=[output(classification=2)])),
]  # fmt: skip

INPUTS = [
    of_the_input("unknown input", name="x"),
    of_the_input("an input without a name", name=None),
    of_the_input("a name that is a number", name=7),
    infer("one input twice", asked(tensor(), tensor())),
    infer("one input too many", asked(tensor(), tensor(name="x"))),
    infer("one input of two", asked(BOTH[0]), TWO),
    infer("rows that differ", asked(BOTH[0], tensor(np.ones((1, 2, 3), np.float32), "grid")), TWO),
    of_the_input("no datatype", datatype=None),
    of_the_input("unknown datatype", datatype="FP99"),
    of_the_input("datatype in small letters", datatype="fp32"),
    of_the_input("other datatype", datatype="INT32"),
    of_the_input("datatype half", datatype="FP16"),
    of_the_input("datatype is a number", datatype=32),
    of_the_input("no shape", shape=None),
    of_the_input("shape too narrow", shape=[3, 63]),
    of_the_input("shape of one dimension", shape=[192]),
    of_the_input("shape of three dimensions", shape=[3, 64, 1]),
    of_the_input("empty shape", shape=[]),
    of_the_input("negative shape", shape=[-3, 64]),
    of_the_input("two negative sizes", shape=[-3, -64]),
    of_the_input("shape of text", shape=["3", "64"]),
    of_the_input("shape of fractions", shape=[3.0, 64.0]),
    of_the_input("shape is a number", shape=192),
    of_the_input("shape beyond all numbers", shape=[2**62, 64]),
    of_the_input("shape beyond 64 bits", shape=[2**64, 64]),
    infer("no rows", asked(tensor(np.ones((0, 64), np.float32)))),
    infer("too many rows", asked(tensor(np.ones((17, 64), np.float32)))),
    of_the_input("no data", data=None),
    infer("data are null", asked({**tensor(), "data": None})),
    of_the_input("no data at all in the list", data=[]),
    of_the_input("too little data", data=[0.5] * 191),
    of_the_input("too much data", data=[0.5] * 193),
    of_the_input("data of text", data=["0.5"] * 192),
    of_the_input("one text among the data", data=[*[0.5] * 191, "0.5"]),
    of_the_input("one null among the data", data=[*[0.5] * 191, None]),
    of_the_input("truth among the data", data=[*[0.5] * 191, True]),
    of_the_input("an object among the data", data=[*[0.5] * 191, {}]),
    of_the_input("data are a number", data=7),
    of_the_input("data are an object", data={"a": 1}),
    of_the_input("nested unevenly", data=[[0.5] * 65, [0.5] * 63, [0.5] * 64]),
    of_the_input("nested in part", data=[[0.5] * 64, *[0.5] * 128]),
    of_the_input("nested too deeply", data=[[[0.5] * 64] * 3]),
    infer("NaN in JSON", numbers("NaN")),
    infer("Infinity in JSON", numbers("Infinity")),
    infer("null for a number", numbers("null")),
    infer("a number beyond single precision", numbers("1e39")),
    infer("a number beyond double precision", numbers("1e999")),
    infer("a whole number of many digits", numbers("1" + "0" * 30)),
]  # fmt: skip

BINARY = [
    binary("NaN in binary", packed(NAN), NAN),
    binary("head length is no number", packed(STATES), STATES, length="x"),
    binary("head length is negative", packed(STATES), STATES, length="-1"),
    binary("head length beyond the body", packed(STATES), STATES, length="100000"),
    binary("head length beyond all numbers", packed(STATES), STATES, length="9" * 30),
    binary("head length too short", packed(STATES), STATES, length="20"),
    binary("head length too long", packed(STATES), STATES, length=str(len(json.dumps(packed(STATES))) + 4)),
    infer("binary without the head's length", json.dumps(packed(STATES)).encode() + STATES.tobytes()),
    infer("binary of which nothing came", packed(STATES)),
    binary("too little binary data", packed(STATES), STATES[:2]),
    binary("too much binary data", packed(STATES), STATES, extra=b"1234"),
    binary("binary size too small", packed(STATES, parameters={"binary_data_size": 764}), STATES),
    binary("binary size too large", packed(STATES, parameters={"binary_data_size": 772}), STATES, extra=b"1234"),
    binary("binary size is negative", packed(STATES, parameters={"binary_data_size": -1}), STATES),
    binary("binary size is text", packed(STATES, parameters={"binary_data_size": "768"}), STATES),
    binary("binary size is a fraction", packed(STATES, parameters={"binary_data_size": 768.0}), STATES),
    binary("binary and JSON data of one input", packed(STATES, data=[0.5] * 192), STATES),
    binary("binary of another shape", packed(STATES, shape=[2, 64]), STATES),
    binary("binary of another datatype", packed(HALVES), HALVES),
    raw("raw binary of no row", b""),
    raw("raw binary of half a row", STATES[:1].tobytes()[:128]),
    raw("raw binary of too many rows", STATES.tobytes() * 6),
    raw("raw binary for two inputs", STATES[:1].tobytes(), TWO),
]  # fmt: skip

EXTENSIONS = [
    get("shared memory", "/v2/systemsharedmemory/status"),
    get("CUDA's shared memory", "/v2/cudasharedmemory/status"),
    get("tracing", "/v2/trace/setting"),
    get("logging", "/v2/logging"),
    post("generate", f"/v2/models/{ONE}/generate", {"text_input": "x"}),
]

REPOSITORY = [
    post("load an unknown model", "/v2/repository/models/no.model/load"),
    post("load what is loaded", f"/v2/repository/models/{ONE}/load"),
    post("load with an empty object", f"/v2/repository/models/{ONE}/load", {}),
    post("load with parameters of none", f"/v2/repository/models/{ONE}/load", {"parameters": {}}),
    post("load with broken JSON", f"/v2/repository/models/{ONE}/load", "{"),
    post("index with broken JSON", "/v2/repository/index", "{"),
    post("index with a key of the client's own", "/v2/repository/index", {"x": 1}),
    post("index, ready as text", "/v2/repository/index", {"ready": "yes"}),
    post("unload an unknown model", "/v2/repository/models/no.model/unload"),
    post("unload", f"/v2/repository/models/{TWO}/unload", {"parameters": {"unload_dependents": False}}),
    *(dataclasses.replace(own, until_gone=TWO) for own in about("unloaded", TWO)),
    get("unloaded: server ready", "/v2/health/ready"),
    post("unload again", f"/v2/repository/models/{TWO}/unload"),
    post("load again", f"/v2/repository/models/{TWO}/load"),
    *about("loaded again", TWO),
    get("statistics after an inference", f"/v2/models/{TWO}/stats"),
]  # fmt: skip
