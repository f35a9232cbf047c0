"""What the bodies of the Open Inference Protocol look like."""

from __future__ import annotations

from supervisor.serving.openapi.pieces import Described, ref
from supervisor.serving.openapi.schemas import COUNT, TEXT, listed, record

DATATYPE: Described = {"enum": ["FP32", "FP16"]}
FLAG: Described = {"type": "boolean"}
NAME: Described = {"type": "string", "description": "archetype.model_type"}
SIZE: Described = {"type": "integer", "minimum": -1}


def oip() -> Described:
    return {
        "OipError": record({"error": TEXT}),
        "OipServer": record({"name": TEXT, "version": TEXT, "extensions": listed(TEXT)}),
        "OipMetadata": record(
            {
                "name": NAME,
                "versions": listed(TEXT),
                "platform": TEXT,
                "inputs": listed(ref("OipTensor")),
                "outputs": listed(ref("OipTensor")),
            }
        ),
        "OipTensor": record({"name": TEXT, "datatype": DATATYPE, "shape": listed(SIZE, minItems=1)}),
        "OipRequest": _request(),
        "OipRequestInput": _request_input(),
        "OipAnswer": record(
            {"model_name": NAME, "model_version": TEXT, "id": TEXT, "outputs": listed(_output())}, optional=("id",)
        ),
        "OipIndexRequest": record({"ready": {}}, optional=("ready",), closed=True),
        "OipIndex": listed(
            record(
                {"name": NAME, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT},
                ("reason",),
            )
        ),
        "OipLoad": record(
            {"parameters": {"type": ["object", "null"], "maxProperties": 0}}, optional=("parameters",), closed=True
        ),
        "OipUnload": record({"parameters": {"description": "Not looked at."}}, optional=("parameters",), closed=True),
        "OipConfiguration": _configuration(),
        "OipStatistics": record({"model_stats": listed(_statistics())}),
        "OipTimes": record({"count": COUNT, "ns": COUNT}),
    }


def _request() -> Described:
    parameters: Described = {
        "binary_data_output": FLAG,
        "timeout": {**COUNT, "description": "Microseconds that it is worth waiting."},
    }
    output = record(
        {"name": TEXT, "parameters": _extra({"binary_data": FLAG})},
        optional=("parameters",),
    )
    return _extra(
        {
            "id": {"type": ["string", "null"]},
            "parameters": _extra(parameters),
            "inputs": listed(ref("OipRequestInput"), minItems=1),
            "outputs": listed({**output, "additionalProperties": True}),
        },
        required=("inputs",),
    )


def _request_input() -> Described:
    return _extra(
        {
            "name": TEXT,
            "datatype": DATATYPE,
            "shape": listed(COUNT, minItems=1),
            "parameters": _extra({"binary_data_size": COUNT}),
            "data": {**ref("Values"), "description": "Nested or flat; not where the tensor is binary."},
        },
        required=("name", "datatype", "shape"),
    )


def _extra(properties: Described, required: tuple[str, ...] = ()) -> Described:
    """An object that may hold what this server does not look at."""
    return {"type": "object", "required": [*required], "properties": properties, "additionalProperties": True}


def _output() -> Described:
    return record(
        {
            "name": TEXT,
            "datatype": DATATYPE,
            "shape": listed(COUNT, minItems=1),
            "data": listed({"type": "number"}),
            "parameters": record({"binary_data_size": COUNT}),
        },
        optional=("data", "parameters"),
    )


def _configuration() -> Described:
    tensor = record({"name": TEXT, "data_type": {"enum": ["TYPE_FP32", "TYPE_FP16"]}, "dims": listed(COUNT)})
    return record(
        {
            "name": NAME,
            "platform": TEXT,
            "backend": TEXT,
            "version_policy": record({"latest": record({"num_versions": COUNT})}),
            "max_batch_size": COUNT,
            "input": listed(tensor),
            "output": listed(tensor),
            "dynamic_batching": record({"max_queue_delay_microseconds": COUNT}),
            "instance_group": listed(record({"name": TEXT, "kind": TEXT, "count": COUNT})),
        }
    )


def _statistics() -> Described:
    kinds = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    return record(
        {
            "name": NAME,
            "version": TEXT,
            "last_inference": {**COUNT, "description": "Milliseconds since 1970."},
            "inference_count": COUNT,
            "execution_count": COUNT,
            "inference_stats": record({kind: ref("OipTimes") for kind in kinds}),
            "response_stats": {"type": "object"},
            "batch_stats": listed({}),
            "memory_usage": listed({}),
        }
    )
