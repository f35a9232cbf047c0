"""The routes of the Open Inference Protocol, version 2, with Triton's extensions."""

from __future__ import annotations

from supervisor.serving.openapi.orders import A_VERSION_IS_TAKEN_UP
from supervisor.serving.openapi.own import EXAMPLE_STATE
from supervisor.serving.openapi.pieces import (
    CLIENT_KEY,
    REQUEST_ID,
    Codes,
    Described,
    answers,
    body,
    operation,
    together,
)

HEAD_LENGTH = "Inference-Header-Content-Length"
OF_A_MODEL: Codes = {404: ["unknown_model", "unknown_version"], 503: ["not_loaded"]}
WRITTEN_WRONG: Codes = {400: ["bad_request"]}


def paths() -> Described:
    ready = answers("Yes.")
    return {
        "/v2": {"get": _get("oipServer", "Name, version, extensions", answers("All three.", "OipServer"))},
        "/v2/health/live": {"get": _get("oipLive", "Whether the server answers", ready)},
        "/v2/health/ready": {"get": _get("oipReady", "Whether a model is loaded", ready, {503: ["not_ready"]})},
        "/v2/models/stats": {
            "get": _get("oipAllStatistics", "Requests and their times, of every live model", _statistics())
        },
        **_of_a_model("/v2/models/{name}", "", ("name",)),
        **_of_a_model("/v2/models/{name}/versions/{version}", "OfVersion", ("name", "version")),
        **_repository("/v2/repository"),
    }


def _get(
    name: str, summary: str, answer: Described, errors: Codes | None = None, of: tuple[str, ...] = ()
) -> Described:
    return operation(name, summary, answer, errors or {}, parameters=of, is_oip=True)


def _statistics() -> Described:
    return answers("Since their versions were loaded.", "OipStatistics")


def _of_a_model(path: str, suffix: str, of: tuple[str, ...]) -> Described:
    def get(name: str, summary: str, answer: Described) -> Described:
        return {"get": _get(f"oip{name}{suffix}", summary, answer, OF_A_MODEL, of)}

    return {
        path: get("Metadata", "A model's tensors and versions", answers("All of them.", "OipMetadata")),
        f"{path}/ready": get("ModelReady", "Whether it is loaded", answers("Yes.")),
        f"{path}/config": get("Configuration", "As Triton tells it", answers("All.", "OipConfiguration")),
        f"{path}/stats": get("Statistics", "Requests and their times", _statistics()),
        f"{path}/infer": {"post": _infer(f"oipInfer{suffix}", of)},
    }


def _infer(name: str, of: tuple[str, ...]) -> Described:
    binary: Described = {"schema": {"type": "string", "format": "binary"}}
    errors: Codes = {
        400: ["bad_request", "not_finite"],
        422: ["output_not_finite"],
        500: ["model_failed"],
        503: ["overloaded"],
        504: ["too_late"],
    }
    return operation(
        name,
        "What the model answers to some rows",
        answers("The outputs asked for, or all.", "OipAnswer", binary=binary, header=HEAD_LENGTH),
        together(OF_A_MODEL, errors),
        takes=body("OipRequest", _examples(), binary=binary),
        parameters=(*of, HEAD_LENGTH, CLIENT_KEY, REQUEST_ID),
        is_oip=True,
        says_more=f"With `{HEAD_LENGTH}` the body is so many bytes of JSON, and the binary tensors behind them in their"
        " order; an output asked for as binary comes in the same way.",
    )


def _examples() -> Described:
    tensor: Described = {"name": "state", "datatype": "FP32", "shape": [1, 64], "data": [*EXAMPLE_STATE]}
    output: Described = {"name": "q_values", "parameters": {"binary_data": False}}
    parameters: Described = {"timeout": 50_000, "binary_data_output": False}
    return {
        "allOutputs": {"id": "1", "inputs": [tensor]},
        "oneOutputInTime": {"parameters": parameters, "inputs": [tensor], "outputs": [output]},
    }


def _repository(path: str) -> Described:
    loads = {404: ["not_active"], 409: ["unknown_version", "wrong_hash"], 503: ["active_damaged"]}
    return {
        f"{path}/index": {
            "post": operation(
                "oipIndex",
                "Every model that is known, and whether it is loaded",
                answers("All, or with `ready` those that are loaded.", "OipIndex"),
                WRITTEN_WRONG,
                takes=body("OipIndexRequest", {"loaded": {"ready": True}, "all": {}}, required=False),
                is_oip=True,
            )
        },
        f"{path}/models/{{name}}/load": {
            "post": _order(
                "oipLoad",
                "OipLoad",
                "Take up the version that is active",
                together(WRITTEN_WRONG, loads, A_VERSION_IS_TAKEN_UP),
            )
        },
        f"{path}/models/{{name}}/unload": {
            "post": _order(
                "oipUnload",
                "OipUnload",
                "Serve it no more, until it is loaded",
                together(WRITTEN_WRONG, {404: ["unknown_model"]}),
            )
        },
    }


def _order(name: str, schema: str, summary: str, errors: Codes) -> Described:
    return operation(
        name,
        summary,
        answers("Done."),
        errors,
        takes=body(schema, {"asItIs": {}, "withParameters": {"parameters": {}}}, required=False),
        parameters=("name",),
        is_order=True,
        is_oip=True,
    )
