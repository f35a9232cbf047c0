"""The server's own routes, which are open to everybody."""

from __future__ import annotations

from supervisor.serving.openapi.pieces import (
    BINARY,
    CLIENT_KEY,
    READ_AS_JSON,
    REQUEST_ID,
    Described,
    answers,
    body,
    operation,
)

MODEL = ("archetype", "model_type")
EXAMPLE_STATE = [0.5] * 64


def paths() -> Described:
    return {
        "/health": {
            "get": operation("health", "Who serves, and from which run folder", answers("It serves.", "Health"), {})
        },
        "/ready": {
            "get": operation(
                "ready", "Whether a model is loaded", answers("There is one.", "Ready"), {503: ["not_ready"]}
            )
        },
        "/models": {
            "get": operation(
                "models", "What is live, since when, and what was refused and why", answers("All.", "Models"), {}
            )
        },
        "/metrics": {"get": operation("metrics", "Figures for Prometheus", _metrics(), {})},
        "/openapi.json": {"get": operation("openapi", "This document", answers("OpenAPI 3.1.", "OpenApi"), {})},
        "/infer/{archetype}/{model_type}": {"post": _infer()},
    }


def _metrics() -> Described:
    text: Described = {"text/plain": {"schema": {"type": "string"}}}
    return {"description": "In Prometheus's text format.", "content": text}


def _infer() -> Described:
    rows: Described = {"schema": {"type": "string", "format": "binary"}}
    return operation(
        "infer",
        "What the model answers to some states",
        answers("Outputs by name, and per row what to do.", "Answer", binary=rows, header="X-Model-Version"),
        {
            400: [*READ_AS_JSON, "empty_body", "wrong_inputs", "wrong_shape", "too_many_rows", "not_a_number"],
            404: ["unknown_model"],
            422: ["output_not_finite"],
            500: ["model_failed"],
            503: ["not_loaded", "overloaded"],
            504: ["too_late"],
        },
        takes=body("Inference", _examples(), binary=rows),
        parameters=(*MODEL, CLIENT_KEY, REQUEST_ID),
        says_more=f"JSON, whatever type the request says it has. Only with `{BINARY}` body and answer are rows of"
        " little-endian float32: the model's single input, and its first output.",
    )


def _examples() -> Described:
    return {
        "oneState": {"state": [*EXAMPLE_STATE]},
        "severalStates": {"states": [[*EXAMPLE_STATE]] * 2},
        "inputsByName": {"inputs": {"state": [[*EXAMPLE_STATE]]}},
    }
